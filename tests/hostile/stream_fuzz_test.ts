/**
 * Mutants of valid streams. OPDBUS_FUZZ sets how many (default 5,000; the campaign
 * outside CI runs 200,000), OPDBUS_SEED the first.
 */
import { assertTrue } from "../support/assert.ts";
import { sh } from "../support/scratch.ts";
import type { FuzzReport } from "./stream_fuzz.ts";

const MUTANTS = Number(Deno.env.get("OPDBUS_FUZZ") ?? 5000);
const FIRST_SEED = Number(Deno.env.get("OPDBUS_SEED") ?? 1);
const RSS_MAX_BYTES = 256 * 1024 * 1024;
const PROGRAM = new URL("./stream_fuzz.ts", import.meta.url).pathname;

Deno.test(`${MUTANTS} mutants change no canary and leave nothing`, async () => {
  const args = ["run", "-A", PROGRAM, `${FIRST_SEED}`, `${MUTANTS}`];
  const { taken, largestRssBytes }: FuzzReport = JSON.parse(
    await sh(Deno.execPath(), ...args),
  );
  assertTrue(largestRssBytes < RSS_MAX_BYTES, `${largestRssBytes} bytes resident`);
  // A fuzzer whose mutants all die at the door, or all live, tests little.
  if (MUTANTS < 100) return;
  assertTrue(taken > MUTANTS / 100, `only ${taken} of ${MUTANTS} mutants were taken`);
  assertTrue(taken < MUTANTS / 2, `${taken} of ${MUTANTS} mutants were taken`);
});
