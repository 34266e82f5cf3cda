/** One change of a root, killed at its n-th changing call: ROOT SCENARIO N. */
import { prepareRemoval, prepareRollback } from "../../lib/plugin/activate.ts";
import { prepareActivation } from "../../lib/plugin/activate.ts";
import { commit, recover } from "../../lib/plugin/transaction.ts";
import { testPlace } from "../plugin/live_kit.ts";
import { killAtCall } from "./killer.ts";

const [root, scenario, n] = Deno.args as [string, string, string];
const place = testPlace(root);
const calls = killAtCall(Number(n));
await recover(place);

/** Two plugins change together: they fit only when both are old or both are new. */
function upgradeBoth() {
  return ["net", "lxc"].map((name) =>
    prepareActivation(place, { name, version: "2.0.0" }, "upgrade")
  );
}

const prepared = scenario === "upgrade"
  ? upgradeBoth()
  : scenario === "rollback"
  ? [prepareRollback(place, "lxc")]
  : [prepareRemoval(place, "lxc", { purge: scenario === "purge" })];
await commit(
  place,
  prepared.map(({ step }) => step),
  prepared.map(({ record }) => ({ ...record, data: { ...record.data } })),
);
if (Number(n) === 0) Deno.writeTextFileSync(`${root}.calls`, String(calls()));
