/** op-dbus config */
import { command, group } from "./command.ts";
import { table } from "./table.ts";

const show = command({
  brief: "Print each setting and where it came from",
  description:
    "Order: flag, environment (OPDBUS_<KEY>), configuration file, default. The first wins.",
  examples: ["op-dbus config show", "OPDBUS_CACHE_CODEC=f16 op-dbus config show --json"],
  flags: {},
  run({ config, out }) {
    const entries = config.entries();
    const settings = entries.map(({ name, value, source, origin }) => ({
      name,
      value,
      source,
      origin: origin || null,
    }));
    out.result({ file: config.file, settings }, () =>
      table(
        ["SETTING", "VALUE", "FROM"],
        entries.map(({ name, shown, source, origin }) => [name, shown, origin || source]),
      ));
  },
});

export const config = group("Show the settings in force", { show });
