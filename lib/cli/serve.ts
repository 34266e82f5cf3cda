/** op-dbus serve */
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
  },
  async run(context, flags) {
    const { Service } = await import("../daemon/serve.ts");
    const { loadSettings } = await import("./settings.ts");
    const given = { socket: flags.socket, listen: flags.listen, dbus: flags.dbus };
    const set = Object.entries({ ...given, token_file: flags.token })
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `serve.${key}=${value}`);
    const settings = { ...context.flags, set: [...context.flags.set ?? [], ...set] };
    context.releaseSignals();
    const service = await Service.start({
      layout: context.layout,
      models: await modelSource(context, flags),
      log: logTo(context),
      env: (name) => Deno.env.get(name),
      config: () => loadSettings(settings),
    });
    await untilStopped(service);
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

/** @throws {InputError} when there is no model of the name that the flag gives */
async function modelSource(context: Context, { model, ...device }: EmbedderFlags) {
  const { findModel, listModels } = await import("../embed/model/store.ts");
  const { chosenModel } = await import("./open_embedder.ts");
  if (model !== undefined && model !== BUILTIN) findModel(context.layout, model);
  return {
    defaultName: model ?? await chosenModel(context),
    names: () => [BUILTIN, ...listModels(context.layout).map(({ name }) => name)],
    open: (name: string) => openEmbedder(context, { ...device, model: name }),
  };
}

/** SIGTERM and SIGINT end it, SIGHUP reloads. */
async function untilStopped(
  service: { reload(): void; stop(): Promise<void> },
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const reload = () => service.reload();
  Deno.addSignalListener("SIGHUP", reload);
  Deno.addSignalListener("SIGTERM", resolve);
  Deno.addSignalListener("SIGINT", resolve);
  try {
    await promise;
    await service.stop();
  } finally {
    Deno.removeSignalListener("SIGHUP", reload);
    Deno.removeSignalListener("SIGTERM", resolve);
    Deno.removeSignalListener("SIGINT", resolve);
  }
}
