/** Packages that are out of reach once they are taken: what is received is what was checked. */
import { createHash } from "node:crypto";
import {
  assertEquals,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { seeded } from "../support/random.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { DifferenceError, InputError } from "../../lib/base/errors.ts";
import { buildIndex } from "../../lib/plugin/index_build.ts";
import { verifyPlugin } from "../../lib/plugin/manage.ts";
import { PackageFile, requirePackageFile } from "../../lib/plugin/package_file.ts";
import { verifyFile } from "../../lib/plugin/sign_file.ts";
import type { ByteSource } from "../../lib/stream/source.ts";
import { publicOf } from "./kit.ts";
import { makeRepository, testHost } from "./repo_kit.ts";

async function bytesOf(source: ByteSource): Promise<Uint8Array> {
  await using reader = source.open();
  const all: number[] = [], piece = new Uint8Array(65_536);
  for (let n = 1; n > 0;) {
    n = await reader.read(piece);
    all.push(...piece.subarray(0, n));
  }
  return new Uint8Array(all);
}

Deno.test("all frames of a package are decoded, and digests are of the file", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  Deno.writeTextFileSync(at("a"), "first ".repeat(9000));
  Deno.writeTextFileSync(at("b"), "second");
  const frames =
    `zstd -qc '${at("a")}' && printf '\\120\\052\\115\\030\\1\\0\\0\\0x' && ` +
    `zstd -qc '${at("b")}'`;
  await sh("sh", "-c", `{ ${frames}; } >'${at("package")}'`);
  using file = new PackageFile(at("package"), folder.path);
  const decoded = new TextDecoder().decode(await bytesOf(await file.source()));
  assertEquals(decoded, "first ".repeat(9000) + "second");
  assertEquals(
    file.digests().sha256,
    (await sh("sha256sum", at("package"))).slice(0, 64),
  );
});

Deno.test("what is cut short or too large is left to the reader of streams", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  await sh("sh", "-c", `head -c 40000000 /dev/zero | zstd -qc >'${at("bomb")}'`);
  await sh("sh", "-c", `head -c 9 '${at("bomb")}' >'${at("cut")}'`);
  for (const name of ["bomb", "cut"]) {
    using file = new PackageFile(at(name), folder.path);
    const raw = await bytesOf(await file.source());
    assertEquals(raw, Deno.readFileSync(at(name)), name);
  }
});

/** Bytes that do not compress, the same every time. */
function noise(sizeBytes: number, seed: number): Uint8Array<ArrayBuffer> {
  const random = seeded(seed);
  return Uint8Array.from({ length: sizeBytes }, () => random() * 256);
}

const MIB = 1024 * 1024;

/** A package that was taken is the same after its file was changed in every way. */
async function staysTheSame(from: string, folder: string): Promise<void> {
  for (const sizeBytes of [1, 9 * MIB + 1]) {
    const path = `${from}/package`, right = noise(sizeBytes, 1);
    Deno.writeFileSync(path, right);
    using file = new PackageFile(path, folder);
    const { sha256 } = file.digests();
    Deno.writeFileSync(path, noise(sizeBytes, 2)); // in place: same inode
    Deno.truncateSync(path, 0);
    const bytes = new Uint8Array(await bytesOf(await file.source()));
    assertEquals(createHash("sha256").update(bytes).digest("hex"), sha256);
    assertEquals(
      createHash("sha256").update(right).digest("hex"),
      sha256,
      `${sizeBytes} bytes`,
    );
  }
  const left = [...Deno.readDirSync(folder)].map(({ name }) => name);
  assertEquals(left.filter((name) => name !== "package"), [], "copies have no name");
}

Deno.test("a package that is taken no longer changes with its file", async () => {
  await using folder = await tempFolder();
  Deno.mkdirSync(`${folder.path}/copies`);
  await staysTheSame(folder.path, `${folder.path}/copies`);
});

platformTest("so on btrfs, and from another file system", async () => {
  await using scratch = await btrfsScratch(256);
  await using folder = await tempFolder();
  Deno.mkdirSync(`${scratch.path}/copies`);
  await staysTheSame(scratch.path, `${scratch.path}/copies`);
  await staysTheSame(folder.path, `${scratch.path}/copies`);
});

Deno.test("what is no regular file is refused, and not waited for", async () => {
  await using folder = await tempFolder();
  await sh("mkfifo", `${folder.path}/pipe`);
  Deno.mkdirSync(`${folder.path}/folder`);
  for (const name of ["pipe", "folder"]) {
    using file = new PackageFile(`${folder.path}/${name}`, folder.path);
    const error = assertThrows(() => file.digests(), InputError);
    assertEquals(error.code, "not_a_file");
  }
  const huge = `${folder.path}/huge`;
  await Deno.writeFile(huge, new Uint8Array());
  await Deno.truncate(huge, 2 ** 32 + 1); // one hole
  assertEquals(
    assertThrows(() => requirePackageFile(huge), InputError).code,
    "too_large",
  );
  await Deno.truncate(huge, 2 ** 32);
  requirePackageFile(huge);
});

Deno.test("a signature that is no regular file is refused, and not waited for", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/f`;
  Deno.writeTextFileSync(path, "x");
  const refused = (why: RegExp) => {
    const error = assertThrows(() => verifyFile(path, () => undefined), InputError, why);
    assertEquals(error.code, "bad_signature_file");
  };
  await sh("mkfifo", `${path}.minisig`);
  refused(/no regular file/);
  Deno.removeSync(`${path}.minisig`);
  Deno.mkdirSync(`${path}.minisig`);
  refused(/no regular file/);
  Deno.removeSync(`${path}.minisig`);
  Deno.writeFileSync(`${path}.minisig`, new Uint8Array(100_000));
  refused(/larger than one can be/);
});

/** A good package, and an evil one of the same name; larger than what memory takes. */
async function large(folder: string) {
  const make = async (code: string, seed: number) => {
    const net = { name: "net", version: "1.0.0", tree: { code } };
    const plugins = [{ ...net, noise: noise(9 * MIB, seed) }];
    const made = await makeRepository(`${folder}/${code}`, plugins);
    return { ...made, file: `${made.folder}/net/net-v1.0.0.btrfs.zst` };
  };
  const { folder: repo, key, file: good } = await make("good", 1);
  return { folder: repo, key, good, evil: (await make("evil", 2)).file };
}

platformTest(
  "a file that is swapped after its audit is not what is received",
  async () => {
    await using scratch = await btrfsScratch(512);
    const { key, folder, good, evil } = await large(scratch.path);
    Deno.mkdirSync(`${scratch.path}/root`);
    const host = testHost(`${scratch.path}/root`, folder, [key]);
    await host.install([good], {
      agree: () => {
        Deno.copyFileSync(evil, good);
        return Promise.resolve();
      },
    });
    const { layout } = host.place;
    assertEquals(Deno.readTextFileSync(`${layout.plugin("net")}/code`), "good");
    assertEquals(verifyPlugin(layout, "net").ok, true);
  },
);

platformTest(
  "a file that another process rewrites all the time is installed as signed, or not",
  async () => {
    await using scratch = await btrfsScratch(1024);
    const { key, folder, good, evil } = await large(scratch.path);
    Deno.copyFileSync(good, `${scratch.path}/copy`);
    const script = `import os
while True:
    for content in ("${evil}", "copy"):
        os.link(content, "next")
        os.replace("next", "${good}")`;
    const rewriter = new Deno.Command("python3", {
      args: ["-c", script],
      cwd: scratch.path,
      stdin: "null",
      stdout: "null",
    }).spawn();
    try {
      for (let i = 0; i < 12; i++) {
        const root = `${scratch.path}/root${i}`;
        Deno.mkdirSync(root);
        const host = testHost(root, folder, [key]), { layout } = host.place;
        try {
          await host.install([good]);
        } catch (error) {
          assertTrue(error instanceof DifferenceError, String(error));
          assertEquals(error.code, "bad_signature");
          assertEquals([...Deno.readDirSync(layout.pluginSnapshots)], []);
          continue;
        }
        assertEquals(Deno.readTextFileSync(`${layout.plugin("net")}/code`), "good");
        assertEquals(verifyPlugin(layout, "net").ok, true);
      }
    } finally {
      rewriter.kill("SIGKILL");
      await rewriter.status;
    }
  },
);

Deno.test("a package beside the folders of a repository is told, not left out", async () => {
  await using scratch = await tempFolder();
  const { key, folder } = await makeRepository(scratch.path, [{
    name: "net",
    version: "1.0.0",
  }]);
  Deno.renameSync(
    `${folder}/net/net-v1.0.0.btrfs.zst`,
    `${folder}/net-v1.0.0.btrfs.zst`,
  );
  const build = () =>
    buildIndex(folder, { packageKeys: [publicOf(key)], signers: [key] });
  const error = await assertRejects(build, InputError);
  assertEquals(error.message, "net-v1.0.0.btrfs.zst is in the wrong place");
  assertEquals(
    error.hint,
    "move it into the folder of its plugin: net/net-v1.0.0.btrfs.zst",
  );
});
