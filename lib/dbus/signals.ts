/** Signals: match rules counted and removed, senders checked. */
import type { Bus } from "./bus.ts";
import { BusError } from "./bus_error.ts";
import { isBusName, isInterfaceName, isMemberName, isObjectPath } from "./names.ts";
import type { Message } from "./message.ts";
import { type Json, ValueError } from "./value.ts";

/** Which signals. Everything given must match. */
export interface SignalRule {
  /** A well-known or unique name; signals of others are not delivered. */
  readonly sender?: string;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  /** The first argument, when it is a string. */
  readonly arg0?: string;
}

/** One signal that arrived. */
export interface Signal {
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly args: readonly Json[];
}

export type SignalHandler = (signal: Signal) => void;

interface Subscription {
  readonly rule: SignalRule;
  readonly handler: SignalHandler;
  /** The unique name behind a well-known sender; null while nobody owns it. */
  owner: string | null;
  /** True once the bus has told of a change: newer than any answer asked for before. */
  told: boolean;
}

const DRIVER = "org.freedesktop.DBus";

/** The signals of one connection. */
export class Signals {
  readonly #subscriptions = new Set<Subscription>();
  /** How many subscriptions need each match rule. */
  readonly #rules = new Map<string, number>();

  constructor(private readonly bus: Bus) {}

  async subscribe(rule: SignalRule, handler: SignalHandler): Promise<AsyncDisposable> {
    check(rule);
    const subscription = { rule, handler, owner: rule.sender ?? null, told: false };
    const tracked = rule.sender !== undefined && rule.sender !== DRIVER &&
      !rule.sender.startsWith(":");
    const texts = [ruleText(rule)];
    if (tracked) texts.push(ruleText(ownerRule(rule.sender!)));
    await this.#addAll(texts);
    this.#subscriptions.add(subscription);
    try {
      if (tracked) await this.#findOwner(subscription, rule.sender!);
    } catch (error) {
      this.#subscriptions.delete(subscription);
      if (this.bus.closedBecause === null) {
        for (const text of texts) await this.#remove(text);
      }
      throw error;
    }
    let active = true;
    return {
      [Symbol.asyncDispose]: async () => {
        if (!active) return;
        active = false;
        this.#subscriptions.delete(subscription);
        for (const text of texts) await this.#remove(text);
      },
    };
  }

  dispatch(message: Message): void {
    const { path = "", interface: iface = "", member = "", sender, body = [] } = message;
    const signal = { path, interface: iface, member, args: body };
    if (sender === DRIVER && member === "NameOwnerChanged") {
      for (const subscription of this.#subscriptions) {
        if (subscription.rule.sender === body[0]) {
          subscription.owner = (body[2] as string) || null;
          subscription.told = true;
        }
      }
    }
    for (const { rule, handler, owner } of [...this.#subscriptions]) {
      const matches = (rule.sender === undefined || sender === owner) &&
        (rule.path === undefined || rule.path === path) &&
        (rule.interface === undefined || rule.interface === iface) &&
        (rule.member === undefined || rule.member === member) &&
        (rule.arg0 === undefined || rule.arg0 === body[0]);
      if (matches) handler(signal);
    }
  }

  async #owner(name: string): Promise<string | null> {
    try {
      return await this.bus.driver("GetNameOwner", "s", [name]) as string;
    } catch (error) {
      if (error instanceof BusError && error.code === "dbus_no_service") return null;
      throw error;
    }
  }

  async #findOwner(subscription: Subscription, name: string): Promise<void> {
    const owner = await this.#owner(name);
    // A change that came in the same piece of data as the answer was heard before this.
    if (!subscription.told) subscription.owner = owner;
  }

  /** All of them, or none: the bus may have no room for a rule. */
  async #addAll(texts: readonly string[]): Promise<void> {
    const added: string[] = [];
    try {
      for (const text of texts) {
        const count = this.#rules.get(text) ?? 0;
        this.#rules.set(text, count + 1);
        added.push(text);
        if (count === 0) await this.bus.driver("AddMatch", "s", [text]);
      }
    } catch (error) {
      const refused = added.pop()!;
      const others = this.#rules.get(refused)! - 1;
      if (others > 0) this.#rules.set(refused, others);
      else this.#rules.delete(refused);
      for (const text of added) await this.#remove(text);
      throw error;
    }
  }

  async #remove(text: string): Promise<void> {
    const count = this.#rules.get(text) ?? 0;
    if (count > 1) this.#rules.set(text, count - 1);
    else {
      this.#rules.delete(text);
      // With the connection the bus drops its rules.
      if (this.bus.closedBecause === null) {
        await this.bus.driver("RemoveMatch", "s", [text]);
      }
    }
  }
}

function ownerRule(name: string): SignalRule {
  return {
    sender: DRIVER,
    path: "/org/freedesktop/DBus",
    interface: DRIVER,
    member: "NameOwnerChanged",
    arg0: name,
  };
}

function ruleText(rule: SignalRule): string {
  return ["type='signal'"].concat(
    Object.entries(rule).map(([key, value]) =>
      // Inside quotes an apostrophe is written '\''.
      `${key}='${(value as string).replaceAll("'", "'\\''")}'`
    ),
  ).join(",");
}

function check(rule: SignalRule): void {
  const bad = (rule.sender !== undefined && !isBusName(rule.sender)) ||
    (rule.path !== undefined && !isObjectPath(rule.path)) ||
    (rule.interface !== undefined && !isInterfaceName(rule.interface)) ||
    (rule.member !== undefined && !isMemberName(rule.member));
  if (bad) throw new ValueError("", `a match rule with a bad name: ${ruleText(rule)}`);
}
