/** `org.opdbus1` on a message bus: the service for programs that speak D-Bus. */
import { asOpError, OpError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { Bus } from "../dbus/bus.ts";
import type { Message } from "../dbus/message.ts";
import type { Json } from "../dbus/value.ts";
import {
  ANYWHERE,
  BUS_NAME,
  INTERFACE,
  type Interfaces,
  introspection,
  OBJECT_PATH,
  type Property,
  SIGNALS,
  signatureOf,
  standardInterfaces,
} from "./dbus_interface.ts";
import { chainOf, pluginsOf } from "./overview.ts";
import type { Service } from "./serve.ts";

const ERROR_PREFIX = "org.opdbus1.Error.";
const STANDARD_ERROR = "org.freedesktop.DBus.Error.";
/** Texts of one call: a message of the bus holds 128 MiB at most. */
const TEXTS_LIMIT = 1024;
const DO_NOT_QUEUE = 4;
const PRIMARY_OWNER = 1;

const TOO_LARGE = {
  errorName: `${STANDARD_ERROR}LimitsExceeded`,
  signature: "s",
  body: ["The answer does not fit into a message; ask for less at once"],
};

/** An error that the D-Bus specification names. */
class StandardError extends Error {
  constructor(override readonly name: string, message: string) {
    super(message);
  }
}

const PROPERTIES_OFFERED: Readonly<Record<string, Property<DbusService>>> = {
  Version: { type: "s", emits: "const", read: () => VERSION },
  Entries: {
    type: "t",
    emits: "false",
    read: ({ service }) => service.cache.live().entries,
  },
  ChainHeight: {
    type: "t",
    emits: "false",
    read: ({ service }) => chainOf(service.options.layout).size,
  },
};

const INTERFACES: Interfaces<DbusService> = {
  [INTERFACE]: {
    Embed: {
      in: [["texts", "as"], ["model", "s"]],
      out: [["vectors", "aad"]],
      run: (self, [texts, model]) => self.embed(texts as string[], String(model)),
    },
    Query: {
      in: [["plugin", "s"]],
      out: [["state_json", "s"]],
      run: async ({ service, signal }, [plugin]) => {
        const { queryJson } = await import("./state_calls.ts");
        return [await queryJson(service.options.layout, String(plugin), signal)];
      },
    },
    Plan: {
      in: [["state_json", "s"]],
      out: [["plan_json", "s"]],
      run: async ({ service, signal }, [state]) => {
        const { planJson } = await import("./state_calls.ts");
        return [await planJson(service.options.layout, String(state), signal)];
      },
    },
    ListPlugins: {
      in: [],
      out: [["plugins", "a(sss)"]],
      run: ({ service }) => [
        pluginsOf(service.options.layout)
          .map(({ name, version, problem }) => [name, version ?? "", problem ?? ""]),
      ],
    },
    Snapshot: {
      in: [["target", "s"]],
      out: [["path", "s"]],
      run: (self, [target]) => self.snapshot(String(target)),
    },
  },
  ...standardInterfaces<DbusService>(
    PROPERTIES_OFFERED,
    () => INTROSPECTION,
    (what) => new StandardError("UnknownProperty", `There is no property ${what}`),
  ),
};

/** What other programs see. */
export const INTROSPECTION: string = introspection(INTERFACES, PROPERTIES_OFFERED);

/** The offered object. */
export class DbusService implements AsyncDisposable {
  readonly #stop = new AbortController();

  private constructor(readonly bus: Bus, readonly service: Service) {}

  /**
   * Connects and takes the name.
   * @param where `system`, `session`, or an address
   * @throws {OpError} `name_taken`; what connecting gives
   */
  static async offer(where: string, service: Service): Promise<DbusService> {
    const bus = await Bus.connect(where, { env: service.options.env });
    const offered = new DbusService(bus, service);
    bus.handleCalls((call) => void offered.#serve(call));
    try {
      const answer = await bus.driver("RequestName", "su", [BUS_NAME, DO_NOT_QUEUE]);
      if (answer !== PRIMARY_OWNER) {
        const message = `Cannot offer ${BUS_NAME}: another program has it`;
        const hint = "is another op-dbus serving? op-dbus status tells";
        throw new OpError("name_taken", message, { hint });
      }
      return offered;
    } catch (error) {
      await bus[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends what calls are doing when the service stops. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  async #serve(call: Message): Promise<void> {
    const answer = await this.#answer(call).catch(asError);
    for (const attempt of [answer, TOO_LARGE]) {
      try {
        return this.bus.reply(call, attempt);
      } catch (error) {
        // The bus went away meanwhile, or the answer does not fit into a message.
        const { message } = asOpError(error, `Cannot answer ${call.member}`);
        this.service.options.log("warning", message);
        if (this.bus.closedBecause !== null) return;
      }
    }
  }

  async #answer(call: Message): Promise<Partial<Message>> {
    const { member = "", signature = "" } = call;
    // A call may leave the interface out; then the first that has the method answers.
    const names = call.interface ? [call.interface] : Object.keys(INTERFACES);
    const from = names.find((name) => Object.hasOwn(INTERFACES[name] ?? {}, member));
    if (from === undefined) {
      const what = `${call.interface ?? "any interface"}.${member}`;
      throw new StandardError("UnknownMethod", `There is no ${what}`);
    }
    if (!ANYWHERE.has(from) && call.path !== OBJECT_PATH) {
      throw new StandardError("UnknownObject", `There is nothing at ${call.path}`);
    }
    const method = INTERFACES[from]![member]!;
    const wanted = signatureOf(method.in);
    if (signature !== wanted) {
      const message = `${member} takes (${wanted}), it got (${signature})`;
      throw new StandardError("InvalidArgs", message);
    }
    const body = await method.run(this, call.body ?? [], call.path ?? "");
    return { signature: signatureOf(method.out), body };
  }

  /** Sends a signal; none where the bus is gone. */
  emit(member: keyof typeof SIGNALS, ...args: Json[]): void {
    if (this.bus.closedBecause !== null) return;
    const signature = signatureOf(SIGNALS[member]);
    this.bus.emit({ path: OBJECT_PATH, interface: INTERFACE, member, signature, args });
  }

  /** @throws {OpError} `bad_input`, `model_not_found`, `overloaded`, what models give */
  async embed(texts: readonly string[], model: string): Promise<Json[]> {
    if (texts.length > TEXTS_LIMIT || texts.some((text) => text === "")) {
      const message = `Cannot embed: give up to ${TEXTS_LIMIT} texts, none empty`;
      throw new OpError("bad_input", message);
    }
    const { service, server } = this.service;
    const leave = await server.turnstile.enter(this.signal); // as HTTP's requests
    try {
      const embedder = await service.models.get(model || service.models.defaultName);
      const { matrix } = await service.embed(texts, embedder, this.signal);
      const d = embedder.identity.dimensions;
      return [texts.map((_, i) => Array.from(matrix.subarray(i * d, (i + 1) * d)))];
    } finally {
      leave();
    }
  }

  /** @throws {OpError} what finding the target and making a snapshot give */
  async snapshot(name: string): Promise<Json[]> {
    const { findTarget } = await import("../snapshot/target.ts");
    const { createSnapshot } = await import("../snapshot/create.ts");
    const { options: { layout }, config, recorder } = this.service;
    const target = findTarget(layout, config, name || "cache");
    const made = await createSnapshot(target, { signal: this.signal });
    await recorder.record({
      category: "snapshot",
      action: "create",
      subject: made.name,
      data: { target: made.target, uuid: made.uuid, by: "D-Bus" },
    });
    this.emit("SnapshotCreated", made.target, made.path);
    return [made.path];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new OpError("stopping", "The service is stopping"));
    await this.bus[Symbol.asyncDispose]();
  }
}

/** A failure as a D-Bus error. */
function asError(error: unknown): Partial<Message> {
  const standard = error instanceof StandardError;
  const { code, message } = asOpError(error);
  const camel = code.replace(/(?:^|_)([a-z])/g, (_, letter) => letter.toUpperCase());
  return {
    errorName: standard ? STANDARD_ERROR + error.name : ERROR_PREFIX + camel,
    signature: "s",
    body: [message],
  };
}
