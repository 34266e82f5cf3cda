/** The settings of one run. Loaded only by commands that have any (see command.ts). */
import { type Config, type ConfigKey, loadConfig } from "../base/config.ts";
import { CONFIG_KEYS } from "../base/config_keys.ts";
import { InputError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import type { GlobalFlags } from "./globals.ts";

/**
 * The settings: flag, environment, file, default.
 * @throws {InputError} when one of them is wrong
 */
export function loadSettings(flags: GlobalFlags): Config {
  return loadConfig({
    flags: settingsOfFlags(flags),
    path: flags.config,
    env: Deno.env.toObject(),
  });
}

/** Settings given on the command line: `--root DIR` and `--set KEY=VALUE`. */
function settingsOfFlags({ root, set }: GlobalFlags): Partial<Record<ConfigKey, string>> {
  const settings: Partial<Record<ConfigKey, string>> = {};
  for (const given of set ?? []) {
    const at = given.indexOf("=");
    const key = at === -1 ? given : given.slice(0, at);
    if (at === -1 || !isConfigKey(key)) {
      const near = nearest(key, Object.keys(CONFIG_KEYS));
      throw new InputError("unknown_config_key", `Cannot set ${JSON.stringify(given)}`, {
        hint: near && near !== key
          ? `did you mean --set ${near}=VALUE?`
          : "give --set KEY=VALUE; op-dbus config show lists the keys",
      });
    }
    settings[key] = given.slice(at + 1);
  }
  if (root !== undefined) settings.root = root;
  return settings;
}

function isConfigKey(key: string): key is ConfigKey {
  return Object.hasOwn(CONFIG_KEYS, key);
}
