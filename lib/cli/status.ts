/** op-dbus status */
import type http from "node:http";
import { OpError } from "../base/errors.ts";
import { formatAge, formatSize } from "../base/units.ts";
import { command } from "./command.ts";
import { multiLine } from "./escape.ts";
import { textFlag } from "./flags.ts";
import type { Picture } from "./status_picture.ts";
import { table } from "./table.ts";

const ANSWER_TIMEOUT_MS = 5000;
/** Far beyond what a service tells of itself. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export const status = command<{ socket?: string }>({
  brief: "Ask the running service how it is",
  examples: ["op-dbus status", "op-dbus status --json"],
  flags: { socket: textFlag("Unix socket (default: serve.socket)", "PATH") },
  async run(context, { socket }) {
    const path = socket ?? context.config.get("serve.socket");
    const picture = await ask(path, context.signal);
    context.out.result(picture, () => describe(picture));
  },
});

/** The picture of the service on a socket; anything may answer there. */
async function ask(socketPath: string, signal: AbortSignal): Promise<Picture> {
  const late = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  try {
    const text = await fetchText(socketPath, AbortSignal.any([signal, late]));
    const { readPicture } = await import("./status_picture.ts");
    const picture = readPicture(text);
    if (picture === null) throw new Error("what answers there is no op-dbus");
    return picture;
  } catch (cause) {
    signal.throwIfAborted();
    const why = late.aborted
      ? `no whole answer within ${ANSWER_TIMEOUT_MS / 1000} s`
      : cause instanceof Error
      ? cause.message
      : String(cause);
    throw new OpError("not_serving", `Nothing serves on ${socketPath}: ${why}`, {
      cause,
      hint: "start it with: op-dbus serve (systemctl start op-dbus)",
    });
  }
}

async function fetchText(socketPath: string, signal: AbortSignal): Promise<string> {
  const { default: http } = await import("node:http");
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const request = http.get({ socketPath, path: "/overview.json", signal });
    request.on("error", reject);
    request.on("response", resolve);
  });
  if (response.statusCode !== 200) {
    response.destroy();
    throw new Error(`it answered with status ${response.statusCode}`);
  }
  const decoder = new TextDecoder();
  let text = "", sizeBytes = 0;
  for await (const piece of response as AsyncIterable<Uint8Array>) {
    sizeBytes += piece.length;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new Error("what answers there does not end");
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}

function describe(picture: Picture): string {
  const { cache, chain, jobs, now, plugins } = picture;
  const { memory, disk, model } = cache.counts;
  const all = memory + disk + model;
  const rate = all === 0
    ? "no lookups yet"
    : `${((memory + disk) / all * 100).toFixed(1)} % hits`;
  const lines = [
    `op-dbus ${picture.version} serves ${picture.root} since ` +
    `${formatAge(now - picture.started)} (pid ${picture.pid})`,
    `Cache: ${cache.entries} vectors, ${formatSize(cache.vector_bytes)}; ${rate}`,
    `Models: ${picture.models.join(", ")}`,
    `Plugins: ${plugins.map(({ name }) => name).join(", ") || "none"}`,
    `Chain: ${chain.problem ?? `${chain.size} blocks`}`,
    "",
    table(
      ["JOB", "EVERY", "LAST RUN", "PROBLEM"],
      jobs.map((job) => [
        job.name,
        job.everyMs > 0 ? `${Math.round(job.everyMs / 1000)} s` : "off",
        job.lastMs === null ? "-" : `${formatAge(now - job.lastMs)} ago`,
        job.error ?? "",
      ]),
    ),
  ];
  return multiLine(lines.join("\n"));
}
