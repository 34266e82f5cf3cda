/** Reads the present state of plugins. Nothing here calls what is not a read. */
import { OpError } from "../base/errors.ts";
import type { Json } from "../dbus/value.ts";
import type { Buses } from "./buses.ts";
import { completeTypes } from "./complete.ts";
import { observeState } from "./kinds/kinds.ts";
import type { Desired, Observed } from "./model.ts";
import type { StatePlugin } from "./plugins.ts";
import { StateReader } from "./reader.ts";

/** How reading is done. */
export interface ObserveOptions {
  readonly signal?: AbortSignal;
  /** Only what this names; everything where it is left out. */
  readonly desired?: Desired;
}

/** One plugin's state, or why it cannot be read at all. */
export type PluginObservation =
  | { readonly plugin: string; readonly states: { readonly [state: string]: Json } }
  | { readonly plugin: string; readonly error: OpError };

/**
 * Reads plugins side by side; one that fails hides no other.
 */
export function observeEach(
  plugins: readonly StatePlugin[],
  buses: Buses,
  options: ObserveOptions = {},
): Promise<PluginObservation[]> {
  return Promise.all(plugins.map(async (plugin) => {
    try {
      return { plugin: plugin.name, states: await observePlugin(plugin, buses, options) };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof OpError)) throw error;
      return { plugin: plugin.name, error };
    }
  }));
}

/**
 * Reads plugins.
 *
 * @throws {OpError} when one of them cannot be read at all
 */
export async function observe(
  plugins: readonly StatePlugin[],
  buses: Buses,
  options: ObserveOptions = {},
): Promise<Observed> {
  const all = await Promise.all(
    plugins.map(async (plugin) =>
      [plugin.name, await observePlugin(plugin, buses, options)] as const
    ),
  );
  return Object.fromEntries(all);
}

async function observePlugin(
  plugin: StatePlugin,
  buses: Buses,
  { signal, desired }: ObserveOptions,
): Promise<{ readonly [state: string]: Json }> {
  const bus = await buses.get(plugin.mapping.service.bus);
  const whole = await completeTypes(plugin, bus);
  const reader = new StateReader(whole, bus, signal);
  const wanted = desired?.[plugin.name];
  const states = [...whole.mapping.states.values()].filter((state) =>
    wanted ? Object.hasOwn(wanted, state.name) : isReadable(state)
  );
  const entries = await Promise.all(states.map(async (state) => {
    const context = { plugin: whole, state, file: "" };
    return [
      state.name,
      await observeState(context, reader, wanted?.[state.name]),
    ] as const;
  }));
  return Object.fromEntries(entries);
}

function isReadable(state: { key?: string; keys?: unknown; kind: string }): boolean {
  return state.kind === "collection" || state.key === undefined ||
    state.keys !== undefined;
}
