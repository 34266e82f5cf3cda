/** op-dbus serve */
import type { Config } from "../base/config.ts";
import type { Level } from "../daemon/serve.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { textFlag } from "./flags.ts";
import {
  BUILTIN,
  EMBEDDER_FLAGS,
  type EmbedderFlags,
  openEmbedder,
} from "./open_embedder.ts";

interface ServeFlags extends EmbedderFlags {
  readonly socket?: string;
  readonly listen?: string;
  readonly token?: string;
  readonly dbus?: string;
}

/** What the signals act on. */
interface Running {
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** Syslog's numbers, which journald takes from `<N>` at a line's start. */
const PRIORITIES: Readonly<Record<Level, number>> = {
  error: 3,
  warning: 4,
  info: 6,
  debug: 7,
};

export const serve = command<ServeFlags>({
  brief: "Serve embeddings to every program on this host",
  description:
    "HTTP as OpenAI's clients speak it, on a unix socket and, with --listen, on\n" +
    "TCP: loopback, or any address when clients must send a token. / is a page to look\n" +
    "at, /metrics is for Prometheus. SIGHUP reads the configuration again, SIGTERM ends\n" +
    "after the requests under way. Snapshots and upkeep run on the schedule.",
  examples: [
    "op-dbus serve",
    "op-dbus serve --model minilm --listen 127.0.0.1:8080",
  ],
  flags: {
    socket: textFlag("Unix socket (default: serve.socket)", "PATH"),
    listen: textFlag("TCP address too, such as 127.0.0.1:8080", "ADDRESS"),
    token: textFlag("File with the token that clients must send", "FILE"),
    dbus: textFlag("Offer org.opdbus1 on this bus: system or session", "BUS"),
    ...EMBEDDER_FLAGS,
    model: textFlag("Model of requests that name none (default: embed.model)", "NAME"),
  },
  async run(context, flags) {
    const { Service } = await import("../daemon/serve.ts");
    const { loadSettings } = await import("./settings.ts");
    const given = {
      "serve.socket": flags.socket,
      "serve.listen": flags.listen,
      "serve.dbus": flags.dbus,
      "serve.token_file": flags.token,
      "embed.model": flags.model,
      "embed.device": flags.device,
    };
    const set = Object.entries(given)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `${key}=${value}`);
    const settings = { ...context.flags, set: [...context.flags.set ?? [], ...set] };
    context.releaseSignals();
    await untilStopped(() =>
      Service.start({
        layout: context.layout,
        models: (config) => modelSource(context, config),
        log: logTo(context),
        env: (name) => Deno.env.get(name),
        config: () => loadSettings(settings),
      })
    );
  },
});

/** Structured lines on standard error; with priorities under systemd. */
function logTo(context: Context) {
  const journal = Deno.env.get("JOURNAL_STREAM") !== undefined;
  return (level: Level, message: string, fields: object = {}) => {
    if (level === "debug" && !context.out.options.verbose) return;
    const pairs = Object.entries(fields).map(([name, value]) =>
      `${name}=${/[\s"=]/.test(String(value)) ? JSON.stringify(value) : value}`
    );
    const line = [message, ...pairs].join(" ");
    const text = context.out.json
      ? JSON.stringify({ level, message, ...fields })
      : journal
      ? `<${PRIORITIES[level]}>${line}`
      : `${level}: ${line}`;
    const important = level === "error" || level === "warning";
    if (important || !context.out.options.quiet) context.out.log(text);
  };
}

/** The models of this host, run as a configuration says. */
async function modelSource(context: Context, config: Config) {
  const { listModels } = await import("../embed/model/store.ts");
  const { chosenModel } = await import("./open_embedder.ts");
  const now = context.with(config);
  return {
    defaultName: await chosenModel(now),
    names: () => [BUILTIN, ...listModels(now.layout).map(({ name }) => name)],
    open: (name: string) => openEmbedder(now, { model: name }),
  };
}

/** SIGTERM and SIGINT end it, SIGHUP reloads; also while it starts. */
async function untilStopped(start: () => Promise<Running>): Promise<void> {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  let service: Running | undefined, again = false;
  const reload = () => {
    if (service) void service.reload();
    else again = true;
  };
  Deno.addSignalListener("SIGHUP", reload);
  Deno.addSignalListener("SIGTERM", end);
  Deno.addSignalListener("SIGINT", end);
  try {
    service = await start();
    if (again) await service.reload();
    await ended;
    await service.stop();
  } finally {
    Deno.removeSignalListener("SIGHUP", reload);
    Deno.removeSignalListener("SIGTERM", end);
    Deno.removeSignalListener("SIGINT", end);
  }
}
