/** op-dbus chain export */
import { FILTER_FLAGS, type FilterFlags, filterOf } from "./chain_filter.ts";
import { command } from "./command.ts";
import { openChain } from "./open_chain.ts";

export const chainExport = command<FilterFlags>({
  brief: "Print blocks as JSON lines, byte for byte as they are stored",
  examples: [
    "op-dbus chain export > chain.jsonl",
    "op-dbus chain export --range 100..200",
    "op-dbus chain export --since 30d --category plugin",
  ],
  flags: FILTER_FLAGS,
  async run(context, flags) {
    const { exportBlocks } = await import("../chain/export.ts");
    const reader = await openChain(context);
    const filter = await filterOf(flags);
    for await (const line of exportBlocks(reader, filter, context.signal)) {
      context.out.bytes(line);
    }
  },
});
