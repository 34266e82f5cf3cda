/** Starting the peers and asking them. */
const HERE = new URL("./", import.meta.url).pathname;
const REPO = new URL("../../../", import.meta.url).pathname;
/** node_modules of the peers: 480 MB, outside of what git sees. */
export const PEERS = `${REPO}.tools/bench-onnx`;

/** A running peer. */
export class Peer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #buffer = "";

  constructor(readonly name: string, command: readonly string[]) {
    this.#child = new Deno.Command(command[0]!, {
      args: command.slice(1),
      cwd: PEERS,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** One request; the time that the peer itself measured. */
  async ask(request: Record<string, unknown>): Promise<{ ms: number; result: unknown }> {
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
    while (!this.#buffer.includes("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`The peer ${this.name} ended`);
      this.#buffer += value;
    }
    const end = this.#buffer.indexOf("\n");
    const answer = JSON.parse(this.#buffer.slice(0, end));
    this.#buffer = this.#buffer.slice(end + 1);
    if (answer.error) throw new Error(`${this.name}: ${answer.error}`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#lines.cancel();
    await this.#child.status;
  }
}

/** The command lines, by peer. */
export const COMMANDS = {
  ours: [
    ...[Deno.execPath(), "run", "--quiet", "-A"],
    ...["--config", `${REPO}deno.json`, `${HERE}ours.ts`],
  ],
  node: ["node", `${PEERS}/ort_node.mjs`],
  // With our own settings: transformers.js brings a version of its own of that engine.
  web: [
    ...[Deno.execPath(), "run", "--quiet", "-A"],
    ...["--config", `${REPO}deno.json`, `${HERE}ort_web.mjs`],
  ],
  transformers: [Deno.execPath(), "run", "--quiet", "-A", `${PEERS}/transformers.mjs`],
  transformersHttp: [
    ...[Deno.execPath(), "run", "--quiet", "-A", `${PEERS}/transformers_http.mjs`],
  ],
} as const;

/** Starts a peer. */
export function start(name: Exclude<keyof typeof COMMANDS, "transformersHttp">): Peer {
  return new Peer(name, COMMANDS[name]);
}

/** Installs the peers' packages where they are missing. Says so before: it is 480 MB. */
export async function installPeers(note: (line: string) => void): Promise<void> {
  await Deno.mkdir(PEERS, { recursive: true });
  const files = ["package.json", "package-lock.json", "protocol.mjs", "ort_node.mjs"];
  const more = ["transformers.mjs", "transformers_http.mjs"];
  for (const file of [...files, ...more]) {
    await Deno.copyFile(HERE + file, `${PEERS}/${file}`);
  }
  const config = `${PEERS}/deno.json`;
  await Deno.writeTextFile(config, '{"nodeModulesDir":"manual"}\n');
  const there = `${PEERS}/node_modules/@huggingface/transformers/package.json`;
  if (await Deno.stat(there).then(() => true, () => false)) return;
  note("installing the peers (npm ci, 480 MB) into .tools/bench-onnx");
  const { success, stderr } = await new Deno.Command("npm", {
    args: ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    cwd: PEERS,
  }).output();
  if (!success) throw new Error(`npm ci: ${new TextDecoder().decode(stderr)}`);
}
