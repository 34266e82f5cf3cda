/**
 * The file for aarch64, built on x86_64 and run by qemu's user mode in a root that holds
 * Debian's arm64 libc and nothing else. What it writes, the file for x86_64 reads.
 *
 * qemu 7.2 knows neither openat2 nor the btrfs ioctls of version 2, so what needs them
 * (packages, snapshots) is not tried. /sys would be this machine's, which an Arm library
 * must not see: there is none.
 */
import { assertEquals, assertIncludes } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { copyInto } from "../../scripts/lib/bare_root.ts";
import { type BareRoot, rootTest } from "./bare_root.ts";
import { unpackWithoutRunning } from "./executable.ts";

const REPO = new URL("../../", import.meta.url).pathname;
const TARGET = "aarch64";
const CROSS = "/usr/aarch64-linux-gnu/lib";
const LIBRARIES = [
  ...["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"],
  ...["libgcc_s.so.1", "libstdc++.so.6"],
];
/** One core of a Graviton 2, so that ONNX Runtime's look at the processor finds an Arm. */
const CPUINFO = `processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd aes pmull sha1 sha2 crc32 atomics asimdrdm
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
`;

type Run = (...args: string[]) => Promise<string>;

/** Builds the file and puts it, its libraries and qemu into the root. */
async function placeIn(root: BareRoot): Promise<Run> {
  await using dist = await tempFolder();
  await sh(
    ...[Deno.execPath(), "run", "-A", `${REPO}scripts/compile.ts`, "--arch", TARGET],
    ...["--route", "self-extracting", "--dist", dist.path],
  );
  const file = `${dist.path}/op-dbus-linux-${TARGET}`;
  const { runtime, main, flags } = await unpackWithoutRunning(file, `${root.path}/rt`);
  for (const name of LIBRARIES) {
    await copyInto(root.path, `${CROSS}/${name}`, `/lib/aarch64-linux-gnu/${name}`);
  }
  const loader = "ld-linux-aarch64.so.1";
  await copyInto(root.path, `${CROSS}/${loader}`, `/lib/${loader}`);
  await copyInto(root.path, "/usr/bin/qemu-aarch64-static", "/qemu");
  await Deno.writeTextFile(`${root.path}/cpuinfo`, CPUINFO);
  const inside = (path: string) => path.slice(root.path.length);
  const before = ["/qemu", inside(runtime), ...flags, inside(main)];
  return async (...args) => {
    const { code, stdout, stderr } = await root.run([...before, ...args], {
      env: { DENO_DIR: "/rt/cache", NO_COLOR: "1" },
      prepare: 'mount --bind "$R/cpuinfo" "$R/proc/cpuinfo"',
    });
    assertEquals(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout;
  };
}

rootTest(
  "the file for aarch64 runs there, and shares its root with x86_64",
  "busybox",
  async (root) => {
    const there = await placeIn(root);
    const here: Run = async (...args) => {
      const { code, stdout, stderr } = await cli(args);
      assertEquals(code, 0, `${args.join(" ")}: ${stderr}`);
      return stdout;
    };
    assertIncludes(await there("version"), "linux-aarch64");

    // A root that both use: vectors equal bit for bit, and none computed twice.
    await Deno.copyFile(`${REPO}tests/data/host-notes.txt`, `${root.path}/notes`);
    await there("--root", "/r", "init", "--plain");
    const embed = (root: string, notes: string) =>
      ["--root", root, "embed", "--file", notes, "--output", "jsonl"] as const;
    const vectors = await there(...embed("/r", "/notes"));
    assertEquals(await here(...embed(`${root.path}/r`, `${root.path}/notes`)), vectors);
    const stats = JSON.parse(
      await here("--root", `${root.path}/r`, "cache", "stats", "--json"),
    );
    assertEquals([stats.lifetime.misses, stats.lifetime.healed], [stats.entries, 0]);
    await there("--root", "/r", "cache", "compact");
    await here("--root", `${root.path}/r`, "cache", "verify");
    await there("--root", "/r", "chain", "verify");

    // A signature made there is one for minisign here.
    await there("key", "generate", "/me", "--no-password");
    await there("sign", "/notes", "--key", "/me.key");
    await sh("minisign", "-V", "-p", `${root.path}/me.pub`, "-m", `${root.path}/notes`);

    // The native engine loads there too.
    assertIncludes(await there("doctor"), /onnx: cpu \(ONNX Runtime/);
  },
);
