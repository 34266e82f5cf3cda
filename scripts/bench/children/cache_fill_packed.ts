/** Fills a cache in a process of its own, so that nothing stays mapped. */
import { fillPacked } from "../../lib/cache_fill.ts";

fillPacked(Deno.args[0]!, Number(Deno.args[1]));
Deno.exit(0);
