/** Where a page's examples are run: what its reader is assumed to have. */
import { generateSecretKey, publicOf, serve, type TestServer } from "../plugin/kit.ts";
import { filesOf, publishExamples } from "../plugin/repo_kit.ts";
import { formatPublicKey } from "../../lib/plugin/minisign/format.ts";
import { cliCommand, cliEnvironment } from "../support/cli.ts";
import { versionProgram, writeRelease } from "../support/release.ts";
import { sandboxHost } from "../support/sandbox_host.ts";
import { sh } from "../support/scratch.ts";

const REPO = new URL("../../", import.meta.url).pathname;
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
  if (page === "docs/releases.md") {
    const key = await writeRelease(
      `${folder}/release`,
      "99.0.0",
      versionProgram("99.0.0"),
    );
    await Deno.writeTextFile(`${folder}/release.pub`, formatPublicKey(publicOf(key)));
  }
  if (page !== "docs/installing.md") {
    return { folder, env, replace: asItIs, async [Symbol.asyncDispose]() {} };
  }
  const server = await serveExamples(folder);
  return {
    folder,
    env,
    replace: (line) => line.replace(PUBLISHED, `${server.url} --allow-http`),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** The example plugins as a repository; its key goes into example.pub. */
async function serveExamples(folder: string): Promise<TestServer> {
  const key = generateSecretKey();
  await publishExamples(`${folder}/published`, key);
  await Deno.writeTextFile(`${folder}/example.pub`, formatPublicKey(publicOf(key)));
  return serve(filesOf(`${folder}/published`));
}
