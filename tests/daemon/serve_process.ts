import { assertIncludes } from "../support/assert.ts";
import { spawnCli } from "../support/cli.ts";
import type { TestRoot } from "../support/cli_root.ts";

/** A service of the test's own, as a process. */
export async function startServe(
  root: TestRoot,
  args: string[] = [],
  env = {},
  name = "serve.sock",
) {
  const socket = `${root.scratch.path}/${name}`;
  const all = ["--root", root.path, "serve", "--socket", socket, ...args];
  const child = spawnCli(all, { env });
  let log = "";
  const waiting: (() => void)[] = [];
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      log += text;
      waiting.splice(0).forEach((look) => look());
    }
    waiting.splice(0).forEach((look) => look());
  })();
  const closed = child.stdin.close();
  let ended = false;
  const status = child.status.then((result) => {
    ended = true;
    waiting.splice(0).forEach((look) => look());
    return result;
  });
  const logged = async (text: string) => {
    while (!log.includes(text)) {
      if (ended) throw new Error(`It ended without saying ${text}:\n${log}`);
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };
  await logged("ready");
  let stopped: Promise<number> | undefined;
  const end = async () => {
    if (!ended) child.kill("SIGTERM");
    const { code } = await status;
    await Promise.all([reading, closed, child.stdout.cancel()]);
    return code;
  };
  const stop = () => stopped ??= end();
  return {
    child,
    socket,
    logged,
    log: () => log,
    /** Waits until it logs more, or ends. */
    more: () => new Promise<void>((resolve) => ended ? resolve() : waiting.push(resolve)),
    stop,
    [Symbol.asyncDispose]: async () => void await stop(),
  };
}

/** A service that reads its settings from a file, and a way to change them. */
export async function configured(root: TestRoot, text: string, env = {}) {
  const path = `${root.scratch.path}/config.toml`;
  await Deno.writeTextFile(path, text);
  const serve = await startServe(root, [], { ...env, OPDBUS_CONFIG: path });
  return {
    serve,
    async reload(text: string, says: string): Promise<string> {
      await Deno.writeTextFile(path, text);
      const before = serve.log().length;
      serve.child.kill("SIGHUP");
      while (!/reload/.test(serve.log().slice(before))) await serve.more();
      const said = serve.log().slice(before);
      assertIncludes(said, says);
      return said;
    },
  };
}
