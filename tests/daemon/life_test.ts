import http from "node:http";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { cliCommand } from "../support/cli.ts";
import { plainRoot } from "../support/cli_root.ts";
import { until } from "./redis_server.ts";
import { startServe } from "./serve_process.ts";
import { overSocket } from "./support.ts";

/** Another endpoint that answers when the test lets it. */
async function slowEndpoint() {
  const { promise: open, resolve: release } = Promise.withResolvers<void>();
  let asked = 0;
  const server = http.createServer((request, response) => {
    asked++;
    request.resume();
    void open.then(() =>
      response.end('{"data":[{"index":0,"embedding":[1,2,3,4]}],"usage":{}}')
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const url = `http://127.0.0.1:${port}/v1`;
  const set = [`url=${url}`, "model=there", "dimensions=4"]
    .flatMap((one) => ["--set", `serve.upstream.${one}`]);
  return {
    set,
    release,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

Deno.test("SIGTERM lets the request under way end, takes no other, and keeps what was computed", async () => {
  await using root = await plainRoot();
  await using endpoint = await slowEndpoint();
  const first = await startServe(root, endpoint.set);
  const ask = (socket: string) => overSocket(socket, "/v1/embeddings", '{"input":"a"}');
  const underWay = ask(first.socket);
  await until(() => endpoint.asked() === 1);
  first.child.kill("SIGTERM");
  await first.logged("stopping");
  await until(() => ask(first.socket).then(({ status }) => status === 503, () => true));
  assertTrue(!first.log().includes("stopped"), "it waits for the request");
  endpoint.release();
  const answer = await underWay;
  assertEquals(answer.status, 200);
  assertEquals(await first.stop(), 0);
  await using second = await startServe(root, endpoint.set);
  assertEquals(JSON.parse((await ask(second.socket)).text), JSON.parse(answer.text));
  assertEquals(endpoint.asked(), 1);
  assertEquals(await second.stop(), 0);
});

Deno.test("of two services on one root one runs the schedule, and the other one after it", async () => {
  await using root = await plainRoot();
  const leads = async (socket: string) =>
    JSON.parse((await overSocket(socket, "/overview.json")).text).leader;
  const first = await startServe(root);
  await until(() => leads(first.socket));
  await using second = await startServe(root, [], {}, "other.sock");
  assertEquals([await leads(first.socket), await leads(second.socket)], [true, false]);
  first.child.kill("SIGKILL");
  await first.stop();
  await until(() => leads(second.socket));
  assertEquals(await second.stop(), 0);
});

/** Opens a socket as systemd would, and becomes the command that is given. */
const activate = (open: string) => `
import os, socket, sys
${open}
if s.fileno() == 3: s = socket.fromfd(3, s.family, s.type)
os.dup2(s.fileno(), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])`;

const TCP = `s = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen()`;
const NOT_LISTENING = `s = socket.socket(socket.AF_UNIX)`;
const DATAGRAMS = `s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("")`;

/** Serves until it ends, or says that it took the socket over. */
async function serveOn(open: string, root: string) {
  const [program, ...args] = cliCommand();
  const child = new Deno.Command("/usr/bin/python3", {
    args: ["-c", activate(open), program!, ...args, "--root", root, "serve"],
    env: { OPDBUS_CONFIG: "/dev/null" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let said = "";
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    said += text;
    if (said.includes("took over")) child.kill("SIGKILL");
  }
  return { code: (await child.status).code, said };
}

Deno.test("a TCP socket that systemd opens is not taken over, whoever may reach it", async () => {
  await using root = await plainRoot();
  for (const open of [TCP, NOT_LISTENING, DATAGRAMS]) {
    const { code, said } = await serveOn(open, root.path);
    assertEquals(code, 1, said);
    assertIncludes(said, "for TCP set serve.listen");
  }
});
