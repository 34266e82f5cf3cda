/** op-dbus status */
import { OpError } from "../base/errors.ts";
import { formatAge, formatSize } from "../base/units.ts";
import { command } from "./command.ts";
import { textFlag } from "./flags.ts";
import { table } from "./table.ts";

const ANSWER_TIMEOUT_MS = 5000;

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

// deno-lint-ignore no-explicit-any
async function ask(socketPath: string, signal: AbortSignal): Promise<any> {
  const { default: http } = await import("node:http");
  const stop = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
  try {
    return await new Promise((resolve, reject) => {
      const request = http.get({ socketPath, path: "/overview.json", signal: stop });
      request.on("error", reject);
      request.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece: string) => text += piece);
        response.on("error", reject);
        response.on("end", () => {
          if (response.statusCode === 200) resolve(JSON.parse(text));
          else reject(new Error(`it answered with status ${response.statusCode}`));
        });
      });
    });
  } catch (cause) {
    signal.throwIfAborted();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OpError("not_serving", `Nothing serves on ${socketPath}: ${why}`, {
      cause,
      hint: "start it with: op-dbus serve (systemctl start op-dbus)",
    });
  }
}

// deno-lint-ignore no-explicit-any
function describe(picture: any): string {
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
    `Plugins: ${plugins.map((one: { name: string }) => one.name).join(", ") || "none"}`,
    `Chain: ${chain.problem ?? `${chain.size} blocks`}`,
    "",
    table(
      ["JOB", "EVERY", "LAST RUN", "PROBLEM"],
      // deno-lint-ignore no-explicit-any
      jobs.map((job: any) => [
        job.name,
        job.everyMs > 0 ? `${Math.round(job.everyMs / 1000)} s` : "off",
        job.lastMs === null ? "-" : `${formatAge(now - job.lastMs)} ago`,
        job.error ?? "",
      ]),
    ),
  ];
  return lines.join("\n");
}
