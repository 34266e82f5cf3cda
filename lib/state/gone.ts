/** Objects of entries that were deleted. */
import { BusError } from "../dbus/bus_error.ts";
import { isObject } from "../dbus/value.ts";
import type { Executor } from "./execute.ts";
import { OBJECT } from "./kinds/collection_read.ts";
import type { Change } from "./model.ts";
import { StateReader } from "./reader.ts";

/**
 * Whether a deleted entry's object still answers. Some services forget it a while after
 * they have taken the entry off their list (accounts-daemon: half a second); an entry that
 * is made meanwhile may get the same path, and the old object's values with it.
 */
export async function objectsLinger(
  { plugins, buses }: Executor,
  changes: readonly Change[],
): Promise<boolean> {
  for (const { action, before, plugin: name, state } of changes) {
    const path = action === "delete" && isObject(before) ? before[OBJECT] : undefined;
    const plugin = plugins.find((one) => one.name === name)!;
    const iface = plugin.mapping.states.get(state)?.objectInterface;
    if (typeof path !== "string" || iface === undefined) continue;
    if (await answers(buses, plugin, path, iface)) return true;
  }
  return false;
}

async function answers(
  buses: Executor["buses"],
  plugin: Executor["plugins"][number],
  path: string,
  iface: string,
): Promise<boolean> {
  try {
    const bus = await buses.get(plugin.mapping.service.bus);
    const found = await new StateReader(plugin, bus).properties(path, iface);
    return !(found instanceof BusError);
  } catch (error) {
    if (error instanceof BusError) return false; // nobody is there to keep it
    throw error;
  }
}
