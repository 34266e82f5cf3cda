/** `org.opdbus1` on a message bus: the service for programs that speak D-Bus. */
import { asOpError, OpError } from "../base/errors.ts";
import { Bus } from "../dbus/bus.ts";
import type { Message } from "../dbus/message.ts";
import type { Json } from "../dbus/value.ts";
import { chainOf, pluginsOf } from "./overview.ts";
import type { Service } from "./serve.ts";
import { VERSION } from "../base/version.ts";

export const BUS_NAME = "org.opdbus1";
export const OBJECT_PATH = "/org/opdbus1";
const INTERFACE = "org.opdbus1.Manager";
const PROPERTIES = "org.freedesktop.DBus.Properties";
const ERROR_PREFIX = "org.opdbus1.Error.";
/** Texts of one call: a message of the bus holds 128 MiB at most. */
const TEXTS_LIMIT = 1024;
const DO_NOT_QUEUE = 4;
const PRIMARY_OWNER = 1;

/** What other programs see. */
export const INTROSPECTION =
  `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
  <interface name="${INTERFACE}">
    <method name="Embed">
      <arg name="texts" type="as" direction="in"/>
      <arg name="model" type="s" direction="in"/>
      <arg name="vectors" type="aad" direction="out"/>
    </method>
    <method name="Query">
      <arg name="plugin" type="s" direction="in"/>
      <arg name="state_json" type="s" direction="out"/>
    </method>
    <method name="Plan">
      <arg name="state_json" type="s" direction="in"/>
      <arg name="plan_json" type="s" direction="out"/>
    </method>
    <method name="ListPlugins">
      <arg name="plugins" type="a(sss)" direction="out"/>
    </method>
    <method name="Snapshot">
      <arg name="target" type="s" direction="in"/>
      <arg name="path" type="s" direction="out"/>
    </method>
    <property name="Version" type="s" access="read"/>
    <property name="Entries" type="t" access="read"/>
    <property name="ChainHeight" type="t" access="read"/>
    <signal name="PluginsChanged"/>
    <signal name="SnapshotCreated"><arg name="target" type="s"/><arg name="path" type="s"/></signal>
  </interface>
  <interface name="${PROPERTIES}">
    <method name="Get">
      <arg name="interface" type="s" direction="in"/>
      <arg name="name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface" type="s" direction="in"/>
      <arg name="values" type="a{sv}" direction="out"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface" type="s"/>
      <arg name="changed" type="a{sv}"/>
      <arg name="invalidated" type="as"/>
    </signal>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect"><arg name="xml" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
  </interface>
</node>`;

interface Answer {
  readonly signature: string;
  readonly body: readonly Json[];
}
const NOTHING: Answer = { signature: "", body: [] };

class UnknownMethod extends Error {}

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
      await offered.#takeName();
    } catch (error) {
      await bus[Symbol.asyncDispose]();
      throw error;
    }
    service.onPlugins = () =>
      bus.emit({ path: OBJECT_PATH, interface: INTERFACE, member: "PluginsChanged" });
    return offered;
  }

  async #takeName(): Promise<void> {
    const reply = await this.bus.call({
      destination: "org.freedesktop.DBus",
      path: "/org/freedesktop/DBus",
      interface: "org.freedesktop.DBus",
      member: "RequestName",
      signature: "su",
      args: [BUS_NAME, DO_NOT_QUEUE],
    });
    if (reply.values[0] !== PRIMARY_OWNER) {
      throw new OpError(
        "name_taken",
        `Cannot offer ${BUS_NAME}: another program has it`,
        {
          hint: "is another op-dbus serving? op-dbus status tells",
        },
      );
    }
  }

  async #serve(call: Message): Promise<void> {
    try {
      this.bus.reply(call, await this.#answer(call));
    } catch (error) {
      if (error instanceof UnknownMethod) {
        this.bus.reply(call, {
          errorName: "org.freedesktop.DBus.Error.UnknownMethod",
          signature: "s",
          body: [`There is no ${call.interface ?? ""}.${call.member ?? ""}`],
        });
        return;
      }
      const { code, message } = asOpError(error);
      const name = code.replace(/(?:^|_)([a-z])/g, (_, letter) => letter.toUpperCase());
      this.bus.reply(call, {
        errorName: ERROR_PREFIX + name,
        signature: "s",
        body: [message],
      });
    }
  }

  #answer(call: Message): Answer | Promise<Answer> {
    const args = call.body ?? [];
    const own = call.interface === undefined || call.interface === INTERFACE;
    const signature = call.signature ?? "";
    switch (`${call.member}(${signature})`) {
      case "Introspect()":
        return { signature: "s", body: [INTROSPECTION] };
      case "Ping()":
        return NOTHING;
      case "Get(ss)":
        return this.#get(String(args[0]), String(args[1]));
      case "GetAll(s)":
        return {
          signature: "a{sv}",
          body: [args[0] === INTERFACE ? this.#properties() : {}],
        };
    }
    if (!own || call.path !== OBJECT_PATH) throw new UnknownMethod();
    switch (`${call.member}(${signature})`) {
      case "Embed(ass)":
        return this.#embed(args[0] as string[], String(args[1]));
      case "Query(s)":
        return this.#query(String(args[0]));
      case "Plan(s)":
        return this.#plan(String(args[0]));
      case "ListPlugins()":
        return this.#plugins();
      case "Snapshot(s)":
        return this.#snapshot(String(args[0]));
    }
    throw new UnknownMethod();
  }

  #properties(): Record<string, Json> {
    const { cache, options } = this.service;
    return {
      Version: { $type: "s", value: VERSION },
      Entries: { $type: "t", value: cache.stats().entries },
      ChainHeight: { $type: "t", value: chainOf(options.layout).size },
    };
  }

  #get(from: string, name: string): Answer {
    const value = from === INTERFACE ? this.#properties()[name] : undefined;
    if (value === undefined) {
      throw new OpError("unknown_property", `There is no property ${from}.${name}`);
    }
    return { signature: "v", body: [value] };
  }

  async #embed(texts: readonly string[], model: string): Promise<Answer> {
    if (texts.length > TEXTS_LIMIT || texts.some((text) => text === "")) {
      const message = `Cannot embed: give up to ${TEXTS_LIMIT} texts, none empty`;
      throw new OpError("bad_input", message);
    }
    const { models } = this.service.service;
    const embedder = await models.get(model === "" ? models.defaultName : model);
    const { matrix } = await this.service.service.embed(
      texts,
      embedder,
      this.#stop.signal,
    );
    const d = embedder.identity.dimensions;
    const rows = texts.map((_, i) => Array.from(matrix.subarray(i * d, (i + 1) * d)));
    return { signature: "aad", body: [rows] };
  }

  #plugins(): Answer {
    const rows = pluginsOf(this.service.options.layout)
      .map(({ name, version, problem }) => [name, version ?? "", problem ?? ""]);
    return { signature: "a(sss)", body: [rows] };
  }

  async #snapshot(name: string): Promise<Answer> {
    const { findTarget } = await import("../snapshot/target.ts");
    const { createSnapshot } = await import("../snapshot/create.ts");
    const { layout } = this.service.options;
    const target = findTarget(layout, this.service.config, name === "" ? "cache" : name);
    const made = await createSnapshot(target, { signal: this.#stop.signal });
    await this.service.recorder.record({
      category: "snapshot",
      action: "create",
      subject: made.name,
      data: { target: made.target, uuid: made.uuid, by: "D-Bus" },
    });
    this.bus.emit({
      path: OBJECT_PATH,
      interface: INTERFACE,
      member: "SnapshotCreated",
      signature: "ss",
      args: [made.target, made.path],
    });
    return { signature: "s", body: [made.path] };
  }

  async #query(plugin: string): Promise<Answer> {
    const { queryJson } = await import("./state_calls.ts");
    const text = await queryJson(this.service.options.layout, plugin, this.#stop.signal);
    return { signature: "s", body: [text] };
  }

  async #plan(state: string): Promise<Answer> {
    const { planJson } = await import("./state_calls.ts");
    const text = await planJson(this.service.options.layout, state, this.#stop.signal);
    return { signature: "s", body: [text] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.service.onPlugins = undefined;
    this.#stop.abort(new OpError("stopping", "The service is stopping"));
    await this.bus[Symbol.asyncDispose]();
  }
}
