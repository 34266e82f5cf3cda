import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { DifferenceError, InputError, OpError } from "../../lib/base/errors.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { formatPublicKey } from "../../lib/plugin/minisign/format.ts";
import { packPlugin } from "../../lib/plugin/pack.ts";
import { powersOf, readPackage } from "../../lib/plugin/package.ts";
import { parseClaim, requireClaim } from "../../lib/plugin/package_signature.ts";
import { signFile, verifyFile } from "../../lib/plugin/sign_file.ts";
import { generateSecretKey, publicOf } from "./kit.ts";
import { manifestText, readTree, writeTree } from "./live_kit.ts";

const MAPPING = `[service]
name = "org.freedesktop.lxc"
[methods.list]
safe = true
[methods.create_container]
safe = false
requires_confirmation = true
dbus_method = "CreateContainer"
args = ["id", "template", "config"]
`;

function author(folder: string, version = "1.2.0"): string {
  const path = `${folder}/lxc`;
  writeTree(path, {
    "plugin.toml": manifestText("lxc", version),
    "semantic-mapping.toml": MAPPING,
    "examples/basic.json": '{"version":1,"plugins":{"lxc":{}}}',
    "state/containers.json": "[]",
    ".git/config": "secret",
  });
  return path;
}

Deno.test("packing twice gives the same bytes, whatever times, umask and owner say", async () => {
  await using scratch = await tempFolder();
  const first = author(`${scratch.path}/a`), second = author(`${scratch.path}/b`);
  Deno.utimeSync(`${second}/plugin.toml`, 1e9, 1e9);
  Deno.chmodSync(`${second}/plugin.toml`, 0o600);
  if (Deno.uid() === 0) Deno.chownSync(`${second}/plugin.toml`, 1234, 1234);
  Deno.mkdirSync(`${scratch.path}/out`);
  const one = await packPlugin(first, { output: `${scratch.path}/a` });
  const two = await packPlugin(second, { output: `${scratch.path}/out` });
  assertEquals(one.path, `${scratch.path}/a/lxc-v1.2.0.btrfs.zst`);
  assertEquals(Deno.readFileSync(one.path), Deno.readFileSync(two.path));
  const content = await readPackage(one.path);
  assertEquals(content.tree, one.tree);
  assertEquals(content.manifest.version, "1.2.0");
  assertEquals(powersOf(content.mapping), {
    busNames: ["org.freedesktop.lxc"],
    unsafeMethods: ["create_container"],
    safeMethods: 1,
  });
  assertEquals(content.audit.tree.find(".git"), undefined);
  const again = () => packPlugin(first, { output: `${scratch.path}/a` });
  await assertRejects(again, InputError, /exists already/);
  await packPlugin(first, { output: `${scratch.path}/a`, force: true });
  const left = [...Deno.readDirSync(`${scratch.path}/a`)].map((entry) => entry.name)
    .sort();
  assertEquals(left, ["lxc", "lxc-v1.2.0.btrfs.zst"]);
});

platformTest("zstd and the stock btrfs receive take the package", async () => {
  await using scratch = await btrfsScratch(256);
  const folder = author(scratch.path);
  const { path, tree } = await packPlugin(folder, { output: scratch.path });
  await sh("sh", "-c", `zstd -dc ${path} | btrfs receive -q ${scratch.path}`);
  const received = `${scratch.path}/lxc@v1.2.0`;
  Deno.removeSync(`${folder}/.git`, { recursive: true });
  assertEquals(readTree(received), readTree(folder));
  assertEquals(digestOfFolder(received), tree);
  assertIncludes(await sh("btrfs", "property", "get", received, "ro"), "ro=true");
});

Deno.test("an invalid plugin, a device, a link that leaves: not packed, nothing left", async () => {
  await using scratch = await tempFolder();
  const folder = author(scratch.path);
  const pack = () => packPlugin(folder, { output: scratch.path });
  Deno.symlinkSync("../../etc/passwd", `${folder}/out`);
  await assertRejects(pack, OpError, /link leaves/);
  Deno.removeSync(`${folder}/out`);
  await sh("mkfifo", `${folder}/pipe`);
  await assertRejects(pack, OpError, /fifo/);
  Deno.removeSync(`${folder}/pipe`);
  Deno.writeTextFileSync(`${folder}/plugin.toml`, 'name = "lxc"\n');
  await assertRejects(pack, InputError, /version: missing \(and 1 more\)/);
  assertEquals([...Deno.readDirSync(scratch.path)].map((entry) => entry.name), ["lxc"]);
});

Deno.test("a signature on a package binds name, version and digest; minisign agrees", async () => {
  await using scratch = await tempFolder();
  const { path } = await packPlugin(author(scratch.path), { output: scratch.path });
  const key = generateSecretKey(), stranger = generateSecretKey();
  const find = (id: string) => id === key.id ? publicOf(key) : undefined;
  await assertRejects(
    () => Promise.resolve().then(() => verifyFile(path, find)),
    DifferenceError,
    /Not signed/,
  );
  signFile(path, key, { timestamp: 1736935200 });
  const checked = verifyFile(path, find);
  assertEquals(parseClaim(checked.signature.trustedComment), {
    name: "lxc",
    version: "1.2.0",
    from: null,
    sha256: checked.digests.sha256,
    timestamp: 1736935200,
  });
  const sha256 = (await sh("sha256sum", path)).slice(0, 64);
  assertEquals(checked.digests.sha256, sha256);
  Deno.writeTextFileSync(`${scratch.path}/k.pub`, formatPublicKey(publicOf(key)));
  const out = await sh("minisign", "-Vm", path, "-p", `${scratch.path}/k.pub`);
  assertIncludes(out, `digest:sha256:${sha256}`);

  // The same package under another name: the signature is right, the claim is not.
  const { signature, digests } = checked;
  for (
    const wanted of [
      { name: "net", version: "1.2.0", from: null },
      { name: "lxc", version: "1.3.0", from: null },
      { name: "lxc", version: "1.2.0", from: "1.0.0" },
    ]
  ) {
    const error = await assertRejects(
      () => Promise.resolve().then(() => requireClaim(signature, digests, wanted, "x")),
      DifferenceError,
    );
    assertEquals(error.code, "wrong_package");
  }
  // Another file with this signature.
  Deno.writeTextFileSync(`${scratch.path}/other`, "x");
  Deno.copyFileSync(`${path}.minisig`, `${scratch.path}/other.minisig`);
  const run = (file: string) => Promise.resolve().then(() => verifyFile(file, find));
  const swapped = await assertRejects(
    () => run(`${scratch.path}/other`),
    DifferenceError,
  );
  assertEquals(swapped.code, "bad_signature");
  signFile(path, stranger);
  const unknown = await assertRejects(() => run(path), DifferenceError);
  assertEquals(unknown.code, "unknown_key");
});

Deno.test("a package cut short or changed is refused with the place", async () => {
  await using scratch = await tempFolder();
  const { path } = await packPlugin(author(scratch.path), { output: scratch.path });
  const bytes = Deno.readFileSync(path);
  for (const size of [0, 1, 10, bytes.length - 8]) {
    Deno.writeFileSync(`${scratch.path}/cut`, bytes.slice(0, size));
    const error = await assertRejects(() => readPackage(`${scratch.path}/cut`), OpError);
    assertTrue(error.exitCode === 2, error.message);
  }
});
