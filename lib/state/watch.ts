/** Forgetting what was read as soon as a service says that it has changed; for `serve`. */
import type { Layout } from "../base/layout.ts";
import type { Buses } from "./buses.ts";
import type { StatePlugin } from "./plugins.ts";
import { forgetQueries } from "./query_cache.ts";

/**
 * Drops a plugin's cached queries on any signal of its service and when the service
 * appears or goes. Not only on PropertiesChanged: firewalld and Accounts tell by signals
 * of their own.
 *
 * @param changed told the plugin's name, after its queries were dropped
 * @returns dispose it to stop watching
 * @throws {BusError} when a bus cannot be reached
 */
export async function watchQueries(
  layout: Layout,
  plugins: readonly StatePlugin[],
  buses: Buses,
  changed: (plugin: string) => void = () => {},
): Promise<AsyncDisposable> {
  const subscriptions: AsyncDisposable[] = [];
  const stop = async () => {
    for (const subscription of subscriptions.splice(0)) {
      await subscription[Symbol.asyncDispose]();
    }
  };
  try {
    for (const { name, mapping: { service } } of plugins) {
      const bus = await buses.get(service.bus);
      let pending = false;
      // Signals come in bursts; those that arrived together are one change.
      const drop = () => {
        if (pending) return;
        pending = true;
        queueMicrotask(() => {
          pending = false;
          forgetQueries(layout, name);
          changed(name);
        });
      };
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
    await stop();
    throw error;
  }
  return { [Symbol.asyncDispose]: stop };
}
