/** The service of the executable: with its permissions, not those of a test. */
import { assertEquals } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { sh } from "../support/scratch.ts";
import { startServe } from "../daemon/serve_process.ts";

Deno.test("the executable serves on its unix socket, over TCP, and ends when it is told", async () => {
  await using root = await plainRoot();
  await using serve = await startServe(root, ["--listen", "127.0.0.1:0"]);
  const body = '{"model":"builtin","input":"open port 80"}';
  const answer = JSON.parse(
    await sh(
      ...["curl", "-sS", "--unix-socket", serve.socket, "-H"] as const,
      ...["content-type: application/json", "-d", body, "http://op-dbus/v1/embeddings"],
    ),
  );
  assertEquals(answer.data.length, 1);
  assertEquals(await serve.stop(), 0, serve.log());
});
