/** Packages held in memory: what is received is what was checked. */
import { assertEquals, assertRejects } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { InputError } from "../../lib/base/errors.ts";
import { buildIndex } from "../../lib/plugin/index_build.ts";
import { verifyPlugin } from "../../lib/plugin/manage.ts";
import { PackageFile } from "../../lib/plugin/package_file.ts";
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
  const file = new PackageFile(at("package"));
  assertEquals(file.held, true);
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
    const raw = await bytesOf(await new PackageFile(at(name)).source());
    assertEquals(raw, Deno.readFileSync(at(name)), name);
  }
  await sh("truncate", "-s", "9M", at("large"));
  assertEquals(new PackageFile(at("large")).held, false);
});

platformTest(
  "a file that is swapped after its audit is not what is received",
  async () => {
    await using scratch = await btrfsScratch(256);
    const { key, folder } = await makeRepository(`${scratch.path}/repo`, [
      { name: "net", version: "1.0.0", tree: { code: "good" } },
      { name: "net", version: "2.0.0", tree: { code: "evil" } },
    ]);
    Deno.mkdirSync(`${scratch.path}/root`);
    const host = testHost(`${scratch.path}/root`, folder, [key]);
    const good = `${folder}/net/net-v1.0.0.btrfs.zst`;
    await host.install([good], {
      agree: () => {
        Deno.copyFileSync(`${folder}/net/net-v2.0.0.btrfs.zst`, good);
        return Promise.resolve();
      },
    });
    const { layout } = host.place;
    assertEquals(Deno.readTextFileSync(`${layout.plugin("net")}/code`), "good");
    assertEquals(verifyPlugin(layout, "net").ok, true);
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
