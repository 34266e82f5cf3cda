/** Where a page's examples are run: what its reader is assumed to have. */
import { buildIndex, readRepositoryFile } from "../../lib/plugin/index_build.ts";
import { packPlugin } from "../../lib/plugin/pack.ts";
import { writeReadmes } from "../../lib/plugin/readme_files.ts";
import { signFile } from "../../lib/plugin/sign_file.ts";
import { generateSecretKey, publicOf } from "../plugin/kit.ts";
import { formatPublicKey } from "../../lib/plugin/minisign/format.ts";
import { cliCommand, cliEnvironment } from "../support/cli.ts";
import { sandboxHost } from "../support/sandbox_host.ts";
import { sh } from "../support/scratch.ts";

const REPO = new URL("../../", import.meta.url).pathname;
const EXAMPLES = `${REPO}examples/op-dbus-plugins`;
/** The repository that the pages name; the test serves one of its own instead. */
const PUBLISHED = "https://plugins.example.org/";

/** A folder to work in, and how commands are run there. */
export interface Stage extends AsyncDisposable {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  /** Puts in place of names on the internet what stands for them here. */
  replace(line: string): string;
}

/** @param folder an empty one on btrfs */
export async function stageFor(page: string, folder: string): Promise<Stage> {
  const program = cliCommand().map((word) => `'${word}'`).join(" ");
  await Deno.mkdir(`${folder}/bin`);
  await Deno.writeTextFile(`${folder}/bin/op-dbus`, `#!/bin/sh\nexec ${program} "$@"\n`, {
    mode: 0o755,
  });
  await Deno.copyFile(`${REPO}tests/data/host-notes.txt`, `${folder}/notes.txt`);
  await sh("cp", "-r", `${REPO}examples`, folder);
  const env = {
    ...cliEnvironment(),
    PATH: `${folder}/bin:${Deno.env.get("PATH")}`,
    OPDBUS_ROOT: `${folder}/root`,
  };
  const asItIs = (line: string) => line;
  if (page === "docs/desired-state.md") {
    const host = await sandboxHost();
    return {
      folder,
      env: { ...env, DBUS_SYSTEM_BUS_ADDRESS: host.address },
      replace: asItIs,
      [Symbol.asyncDispose]: () => host[Symbol.asyncDispose](),
    };
  }
  if (page !== "docs/installing.md") {
    return { folder, env, replace: asItIs, async [Symbol.asyncDispose]() {} };
  }
  const server = await serveExamples(folder);
  return {
    folder,
    env,
    replace: (line) => line.replace(PUBLISHED, `${server.url} --allow-http`),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The example plugins as a repository; its key goes into example.pub. */
async function serveExamples(folder: string) {
  const place = `${folder}/published`;
  await Deno.mkdir(place);
  await Deno.copyFile(`${EXAMPLES}/repository.toml`, `${place}/repository.toml`);
  const key = generateSecretKey();
  for (const { name, isDirectory } of Deno.readDirSync(EXAMPLES)) {
    if (!isDirectory) continue;
    await Deno.mkdir(`${place}/${name}`);
    const { path } = await packPlugin(`${EXAMPLES}/${name}`, {
      output: `${place}/${name}`,
    });
    signFile(path, key);
  }
  const keys = { packageKeys: [publicOf(key)], signers: [key] };
  writeReadmes(place, readRepositoryFile(place), await buildIndex(place, keys));
  await Deno.writeTextFile(`${folder}/example.pub`, formatPublicKey(publicOf(key)));
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => answer(place, new URL(request.url).pathname),
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    shutdown: () => server.shutdown(),
  };
}

async function answer(folder: string, path: string): Promise<Response> {
  try {
    return new Response(await Deno.readFile(folder + path));
  } catch {
    return new Response("not here\n", { status: 404 });
  }
}
