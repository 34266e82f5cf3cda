/** A redis-server of the test's own. */
import { sh } from "../support/scratch.ts";

/** A redis-server of the test's own. */
export async function redisServer(folder: string, port: number, ...more: string[]) {
  const child = new Deno.Command("redis-server", {
    args: [
      ...["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
      ...more,
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  await until(async () => (await cli(port, "ping")).trim() === "PONG");
  return {
    child,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // gone already
      }
      await child.status;
    },
  };
}

/** What redis-cli says; nothing where it cannot connect. */
export const cli = (port: number, ...args: string[]) =>
  sh("redis-cli", "-p", String(port), ...args).catch(() => "");

/** Waits until something is so. */
export async function until(done: () => Promise<boolean> | boolean): Promise<void> {
  while (!await done()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** A TCP port that nothing listens on now. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
