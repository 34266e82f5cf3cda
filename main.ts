/** op-dbus: parse, run, exit code; nothing else. */
import { main } from "./lib/cli/main.ts";

Deno.exit(await main(Deno.args));
