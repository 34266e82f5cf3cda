/** Reading the mapping of a tree that is here. */
import { isSysError } from "../../ffi/errno.ts";
import { checkMapping, type Mapping, MAX_MAPPING_BYTES } from "./mapping.ts";
import { PluginFolder } from "./plugin_files.ts";
import { MAPPING_FILE } from "./validate.ts";

/** A plugin's mapping; null where it has none or a broken one. */
export function mappingOf(folder: string): Mapping | null {
  try {
    using files = new PluginFolder(folder);
    const text = files.readText(MAPPING_FILE, MAX_MAPPING_BYTES);
    return text === null ? null : checkMapping(text, MAPPING_FILE).mapping ?? null;
  } catch (error) {
    if (error instanceof TypeError || isSysError(error)) return null;
    throw error;
  }
}
