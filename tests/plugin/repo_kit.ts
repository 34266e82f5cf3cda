/** A real repository of packed and signed plugins, and a host that installs from it. */
import { Catalog } from "../../lib/plugin/catalog.ts";
import { buildIndex, readRepositoryFile } from "../../lib/plugin/index_build.ts";
import {
  type InstallContext,
  installPlugins,
  upgradePlugins,
} from "../../lib/plugin/install.ts";
import { packPlugin } from "../../lib/plugin/pack.ts";
import { writeReadmes } from "../../lib/plugin/readme_files.ts";
import { Repositories } from "../../lib/plugin/repositories.ts";
import { updateRepository } from "../../lib/plugin/repository_update.ts";
import { parseRequest } from "../../lib/plugin/request.ts";
import { thisHost } from "../../lib/plugin/requirements.ts";
import { signFile } from "../../lib/plugin/sign_file.ts";
import { TrustStore } from "../../lib/plugin/trust_store.ts";
import { withWorkplace } from "../../lib/plugin/workplace.ts";
import {
  type Files,
  generateSecretKey,
  IMPATIENT,
  publicOf,
  type SecretKey,
} from "./kit.ts";
import {
  manifestText,
  type TestPlace,
  testPlace,
  type Tree,
  writeTree,
} from "./live_kit.ts";

/** A plugin version to publish. */
export interface Published {
  readonly name: string;
  readonly version: string;
  readonly tree?: Tree;
  /** Content of a file `noise`, to make the package large. */
  readonly noise?: Uint8Array<ArrayBuffer>;
  /** More lines of plugin.toml. */
  readonly more?: string;
}

/** A repository's folder. */
export interface TestRepository {
  readonly folder: string;
  readonly key: SecretKey;
}

/** Packs, signs and indexes plugins. */
export async function makeRepository(
  folder: string,
  plugins: readonly Published[],
  key: SecretKey = generateSecretKey(),
): Promise<TestRepository> {
  Deno.mkdirSync(folder, { recursive: true });
  Deno.writeTextFileSync(`${folder}/repository.toml`, 'name = "community"\n');
  for (const plugin of plugins) await publishPlugin({ folder, key }, plugin);
  await reindex({ folder, key });
  return { folder, key };
}

/** Packs and signs one version; {@link reindex} makes it known. */
export async function publishPlugin(
  { folder, key }: TestRepository,
  { name, version, tree, more, noise }: Published,
): Promise<string> {
  const author = Deno.makeTempDirSync({ prefix: "op-dbus-author-" });
  try {
    writeTree(author, { "plugin.toml": manifestText(name, version, more), ...tree });
    if (noise) Deno.writeFileSync(`${author}/noise`, noise);
    Deno.mkdirSync(`${folder}/${name}`, { recursive: true });
    const { path } = await packPlugin(author, { output: `${folder}/${name}` });
    signFile(path, key);
    return path;
  } finally {
    Deno.removeSync(author, { recursive: true });
  }
}

export async function reindex({ folder, key }: TestRepository, now?: Date) {
  return await buildIndex(folder, {
    packageKeys: [publicOf(key)],
    signers: [key],
    ...(now && { now }),
  });
}

/** The plugins that are shown in examples/. */
export const EXAMPLES =
  new URL("../../examples/op-dbus-plugins", import.meta.url).pathname;
export const EXAMPLE_NAMES = [...Deno.readDirSync(EXAMPLES)]
  .filter((entry) => entry.isDirectory).map((entry) => entry.name).sort();

/** Packs, signs and indexes the examples, pages for people included. */
export async function publishExamples(folder: string, key: SecretKey) {
  Deno.mkdirSync(folder);
  Deno.copyFileSync(`${EXAMPLES}/repository.toml`, `${folder}/repository.toml`);
  for (const name of EXAMPLE_NAMES) {
    Deno.mkdirSync(`${folder}/${name}`);
    const { path } = await packPlugin(`${EXAMPLES}/${name}`, {
      output: `${folder}/${name}`,
    });
    signFile(path, key);
  }
  const built = await reindex({ folder, key });
  const pages = writeReadmes(folder, readRepositoryFile(folder), built);
  return { built, pages };
}

/** The repository's files, for a server. */
export function filesOf(folder: string, prefix = ""): Files {
  const files: Files = new Map();
  for (const entry of Deno.readDirSync(`${folder}/${prefix}`)) {
    const path = prefix + entry.name;
    if (entry.isDirectory) {
      for (const [inner, bytes] of filesOf(folder, `${path}/`)) files.set(inner, bytes);
    } else files.set(path, Deno.readFileSync(`${folder}/${path}`));
  }
  return files;
}

/** A host that uses one repository. */
export interface TestHost {
  readonly place: TestPlace;
  /** Lines that the user was told. */
  readonly notes: string[];
  readonly install: (
    what: string[],
    more?: Partial<InstallContext>,
  ) => ReturnType<typeof installPlugins>;
  readonly upgrade: (
    what: string[],
    more?: Partial<InstallContext>,
  ) => ReturnType<typeof upgradePlugins>;
  readonly update: () => ReturnType<typeof updateRepository>;
}

export function testHost(
  root: string,
  url: string,
  keys: readonly SecretKey[],
): TestHost {
  const place = testPlace(root), { layout } = place;
  const notes: string[] = [];
  const known = new Repositories(layout);
  if (known.all.length === 0) {
    const trust = new TrustStore(layout);
    known.add("hub", url, keys.map(publicOf), { allowHttp: true, trust });
  }
  const fetch = { allowHttp: true, patience: IMPATIENT };
  const context = async (more: Partial<InstallContext>): Promise<InstallContext> => {
    const trust = new TrustStore(layout), repositories = new Repositories(layout);
    return {
      layout,
      trust,
      repositories,
      fetch,
      allowUnsigned: false,
      note: (line) => notes.push(line),
      host: thisHost(),
      catalog: more.catalog ?? await Catalog.load(repositories, trust, fetch),
      agree: () => Promise.resolve(),
      ...more,
    };
  };
  const options = { layout, recorder: place.recorder };
  return {
    place,
    notes,
    install: (what, more = {}) =>
      withWorkplace(options, async (work) =>
        await installPlugins(
          work,
          what.map((text) => parseRequest(text, Deno.cwd())),
          await context(more),
        )),
    upgrade: (what, more = {}) =>
      withWorkplace(
        options,
        async (work) => await upgradePlugins(work, what, await context(more)),
      ),
    update: () =>
      updateRepository(new Repositories(layout), new TrustStore(layout), "hub", fetch),
  };
}

/** `name@version` of changes, as one text. */
export function changesText(changes: Awaited<ReturnType<typeof installPlugins>>): string {
  return changes.map(({ change: { action, name, from, to } }) =>
    `${action} ${name} ${from ?? "-"} -> ${to}`
  ).join("; ");
}
