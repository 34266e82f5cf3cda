/** Query and Plan of the D-Bus service: read only, whatever they are given. */
import type { Layout } from "../base/layout.ts";
import { InputError } from "../base/errors.ts";
import { Buses } from "../state/buses.ts";
import { diff } from "../state/diff.ts";
import { MAX_STATE_BYTES, parseDocument } from "../state/document.ts";
import { parseJsonText } from "../state/json_text.ts";
import { loadPlugins } from "../state/plugins.ts";
import { query } from "../state/query.ts";

/** The state of one plugin, or of all for an empty name, as JSON. */
export async function queryJson(
  layout: Layout,
  plugin: string,
  signal: AbortSignal,
): Promise<string> {
  const { plugins } = loadPlugins(layout, plugin === "" ? undefined : [plugin]);
  await using buses = new Buses();
  const results = await query(plugins, { layout, buses, signal });
  const failed = results.find(({ error }) => error !== null);
  if (failed?.error && plugin !== "") throw failed.error;
  return JSON.stringify({
    version: 1,
    plugins: Object.fromEntries(results.map(({ plugin, states }) => [plugin, states])),
  });
}

/** What apply would do with a state document, as JSON. */
export async function planJson(
  layout: Layout,
  text: string,
  signal: AbortSignal,
): Promise<string> {
  if (text.length > MAX_STATE_BYTES) {
    throw new InputError("bad_state", "Cannot plan: the state document is too long");
  }
  const file = "the call's argument";
  let value;
  try {
    // As from a file: 64-bit integers keep their digits, a key that comes twice is told.
    value = parseJsonText(text, file);
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw new InputError("bad_state", `Cannot plan: ${cause.message}`, { cause });
  }
  const desired = parseDocument(value, file);
  const loaded = loadPlugins(layout);
  await using buses = new Buses();
  return JSON.stringify(await diff(desired, { ...loaded, layout, buses, file, signal }));
}
