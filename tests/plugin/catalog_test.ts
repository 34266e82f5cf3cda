import { assertEquals, assertRejects } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { OpError } from "../../lib/base/errors.ts";
import { Layout } from "../../lib/base/layout.ts";
import { Catalog } from "../../lib/plugin/catalog.ts";
import { Repositories } from "../../lib/plugin/repositories.ts";
import { thisHost } from "../../lib/plugin/requirements.ts";
import { TrustStore } from "../../lib/plugin/trust_store.ts";
import {
  generateSecretKey,
  IMPATIENT,
  index,
  indexPlugin,
  publicOf,
  signedIndex,
} from "./kit.ts";
import { makeRepository, reindex, testHost } from "./repo_kit.ts";

/** Two repositories in folders, the first preferred. */
async function two(folder: string) {
  const key = generateSecretKey(), layout = new Layout(`${folder}/root`);
  const trust = new TrustStore(layout), repositories = new Repositories(layout);
  const offers = {
    first: { lxc: indexPlugin("lxc", ["1.0.0"]) },
    second: { lxc: indexPlugin("lxc", ["9.0.0"]), net: indexPlugin("net", ["2.0.0"]) },
  };
  for (const [name, plugins] of Object.entries(offers)) {
    await Deno.mkdir(`${folder}/${name}`);
    const files = signedIndex(index({ repository: name, plugins }), [key]);
    for (const [path, bytes] of files) {
      await Deno.writeFile(`${folder}/${name}/${path}`, bytes);
    }
    repositories.add(name, `${folder}/${name}`, [publicOf(key)], { trust });
  }
  return { trust, repositories };
}

Deno.test("a name belongs to the first repository that has it", async () => {
  await using folder = await tempFolder();
  const { trust, repositories } = await two(folder.path);
  const catalog = await Catalog.load(repositories, trust);
  const versions = (name: string) =>
    catalog.candidates(name, thisHost()).map((c) =>
      `${c.origin.repository.name} ${c.version}`
    );
  assertEquals(versions("lxc"), ["first 1.0.0"]);
  assertEquals(versions("net"), ["second 2.0.0"]);
  assertEquals(versions("constructor"), []);
  assertEquals(catalog.search("").map((entry) => entry.name), ["lxc", "lxc", "net"]);
});

Deno.test("a repository that cannot be used is an error, or left out and told", async () => {
  await using folder = await tempFolder();
  const { trust, repositories } = await two(folder.path);
  await Deno.remove(`${folder.path}/first/index.json.minisig`);
  const options = { patience: IMPATIENT };
  await assertRejects(() => Catalog.load(repositories, trust, options), OpError);
  const told: string[] = [];
  const catalog = await Catalog.load(repositories, trust, options, (name, error) => {
    told.push(`${name} ${error.code}`);
  });
  assertEquals(told, ["first below_threshold"]);
  assertEquals(catalog.candidates("net", thisHost()).length, 1);
});

Deno.test("an upgrade names a version that is installed and was yanked since", async () => {
  await using scratch = await tempFolder();
  const repository = await makeRepository(`${scratch.path}/repo`, [
    { name: "net", version: "1.0.0" },
  ]);
  Deno.mkdirSync(`${scratch.path}/root`);
  const host = testHost(`${scratch.path}/root`, repository.folder, [repository.key]);
  await host.install(["net"]);
  assertEquals(await host.upgrade([]), []);
  assertEquals(host.notes, []);
  Deno.writeTextFileSync(
    `${repository.folder}/repository.toml`,
    'name = "community"\nyanked = { "net@1.0.0" = "loses data" }\n',
  );
  await reindex(repository);
  await host.update();
  assertEquals(await host.upgrade([]), []);
  assertEquals(host.notes, ["net@1.0.0 is installed and yanked: loses data"]);
});
