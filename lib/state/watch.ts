/** Forgetting what was read as soon as a service says that it has changed; for `serve`. */
import type { Layout } from "../base/layout.ts";
import type { Bus } from "../dbus/bus.ts";
import type { StatePlugin } from "./plugins.ts";
import { forgetQueries } from "./query_cache.ts";

/** Told what became of a plugin's cached queries. */
export interface WatchEvents {
  /** They were dropped. */
  readonly changed?: (plugin: string) => void;
  /** They could not be: what they hold until their age may be wrong. */
  readonly failed?: (plugin: string, error: unknown) => void;
}

/**
 * Drops a plugin's cached queries on any signal of its service and when the service
 * appears or goes. Not only on PropertiesChanged: firewalld and Accounts tell by signals
 * of their own.
 *
 * @param bus of all these plugins' services; with it the watching ends
 * @returns dispose it to stop watching
 * @throws {BusError} when the bus goes away before everything is watched
 */
export async function watchQueries(
  layout: Layout,
  plugins: readonly StatePlugin[],
  bus: Bus,
  events: WatchEvents = {},
): Promise<AsyncDisposable> {
  const subscriptions: AsyncDisposable[] = [];
  const stop = async () => {
    for (const subscription of subscriptions.splice(0)) {
      await subscription[Symbol.asyncDispose]();
    }
  };
  try {
    for (const { name, mapping: { service } } of plugins) {
      const drop = dropper(layout, name, events);
      const owner = {
        sender: "org.freedesktop.DBus",
        interface: "org.freedesktop.DBus",
        member: "NameOwnerChanged",
        arg0: service.name,
      };
      subscriptions.push(await bus.subscribe({ sender: service.name }, drop));
      subscriptions.push(await bus.subscribe(owner, drop));
    }
  } catch (error) {
    // Of a bus that is gone nothing can be, or needs to be, taken back.
    if (bus.closedBecause === null) await stop();
    throw error;
  }
  return { [Symbol.asyncDispose]: stop };
}

/** Signals come in bursts; those that arrived together are one change. */
function dropper(layout: Layout, plugin: string, events: WatchEvents): () => void {
  let pending = false;
  return () => {
    if (pending) return;
    pending = true;
    queueMicrotask(() => {
      pending = false;
      try {
        forgetQueries(layout, plugin);
      } catch (error) {
        // Nobody awaits this: thrown on, a full disk would end the whole service.
        if (!events.failed) throw error;
        return events.failed(plugin, error);
      }
      events.changed?.(plugin);
    });
  };
}
