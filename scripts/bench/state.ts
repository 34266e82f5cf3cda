/** Desired state against a local service: reading, planning, and an apply of nothing. */
import type { Arch } from "../release/build.ts";
import {
  type Bench,
  type BenchContext,
  type Row,
  row,
  sideBySide,
} from "../bench_kit.ts";

const PROPERTIES = 200, RESOURCES = 500;
const PEER = new URL("./children/many_properties.py", import.meta.url).pathname;
const SERVICE = "org.bench.Many", PATH = "/org/bench/Many";

function mapping(): string {
  const states = Array.from(
    { length: PROPERTIES },
    (_, i) => `[state.p${i}]\nkind = "value"\nread = { property = "P${i}" }\n`,
  );
  return `[service]\nname = "${SERVICE}"\npath = "${PATH}"\ninterface = "${SERVICE}"
[methods.get_items]\nsafe = true
[methods.add_item]\nargs = [{ name = "item", type = "s" }]
[methods.remove_item]\nargs = [{ name = "item", type = "s" }]
[state.items]\nkind = "set"\nread = { method = "get_items" }
add = { method = "add_item", item = ["item"] }
remove = { method = "remove_item", item = ["item"] }
${states.join("")}`;
}

/** Half of them are there already. */
const DESIRED = {
  many: { items: Array.from({ length: RESOURCES }, (_, i) => `item${i}`) },
};

async function workplace() {
  const { privateBus, PYTHON } = await import("../../tests/support/private_bus.ts");
  const { StateRoot } = await import("../../tests/support/state_root.ts");
  const bus = await privateBus();
  await bus.start(SERVICE, PYTHON, PEER);
  const root = await StateRoot.make(bus.address, [], { many: mapping() });
  return {
    bus,
    root,
    async [Symbol.asyncDispose]() {
      await root[Symbol.asyncDispose]();
      await bus[Symbol.asyncDispose]();
    },
  };
}

async function readAndPlan({ note }: BenchContext): Promise<Row[]> {
  const { query } = await import("../../lib/state/query.ts");
  const { cachedPlan } = await import("../../lib/state/diff.ts");
  const { makePlan } = await import("../../lib/state/plan.ts");
  const { observe } = await import("../../lib/state/observe.ts");
  await using place = await workplace();
  const { layout, buses, plugins } = place.root;
  const bus = await buses.get("system");
  const oneByOne = () =>
    Promise.all(Array.from(
      { length: PROPERTIES },
      (_, i) => bus.get(SERVICE, PATH, SERVICE, `P${i}`),
    ));
  const fresh = { layout, buses, maxAgeMs: 0 };
  const [ours, theirs] = await sideBySide([() => query(plugins, fresh), oneByOne]);
  const before = bus.roundTrips;
  await query(plugins, fresh);
  const trips = bus.roundTrips - before;
  note(`a query of ${PROPERTIES} properties and one list: ${trips} round trips`);

  const file = "state.json";
  const observed = await observe(plugins, buses, { desired: DESIRED });
  const planned = bus.roundTrips;
  const plan = await place.root.diff(DESIRED);
  note(
    `a plan for ${RESOURCES} resources: ${bus.roundTrips - planned} round trips, ` +
      `${plan.changes.length} changes`,
  );
  const [whole, reads] = await sideBySide([
    async () =>
      makePlan(
        plugins,
        DESIRED,
        await observe(plugins, buses, { desired: DESIRED }),
        file,
      ),
    () =>
      bus.call({
        destination: SERVICE,
        path: PATH,
        interface: SERVICE,
        member: "GetItems",
      }),
  ]);
  const [cached, made] = await sideBySide([
    () => cachedPlan(layout, plugins, DESIRED, observed, file),
    () => makePlan(plugins, DESIRED, observed, file),
  ]);
  return [
    row(`state-read/query-${PROPERTIES}`, "ms", "lower", ours!, {
      name: `${PROPERTIES} single Gets on one connection`,
      value: theirs!,
    }),
    row(`state-read/round-trips-${PROPERTIES}`, "calls", "lower", trips),
    row(`state-read/plan-${RESOURCES}`, "ms", "lower", whole!, {
      name: "the one call that reads the items",
      value: reads!,
    }),
    row("state-read/diff-cached", "ms", "lower", cached!, {
      name: "planning it again in memory",
      value: made!,
    }),
  ];
}

async function applyNothing({ scratch }: BenchContext): Promise<Row[]> {
  const { build, MAIN } = await import("../release/build.ts");
  const { folder } = await build(`${scratch}/app`, Deno.build.arch as Arch);
  await using place = await workplace();
  const state = `${scratch}/state.json`;
  const there = { many: { items: ["item0", "item1"] } };
  await Deno.writeTextFile(state, JSON.stringify({ version: 1, plugins: there }));
  const env = {
    OPDBUS_ROOT: place.root.layout.root,
    OPDBUS_CONFIG: "/dev/null",
    DBUS_SYSTEM_BUS_ADDRESS: place.bus.address,
    DENO_DIR: `${scratch}/deno`,
  };
  const main = ["run", "--quiet", "-A", "--no-config", "--no-lock", "--no-npm"];
  const run = (...words: string[]) => () => {
    const args = [...main, `${folder}/${MAIN}`, ...words];
    const { success, stderr } = new Deno.Command(Deno.execPath(), { args, env })
      .outputSync();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
  };
  const [apply, version] = await sideBySide(
    [run("apply", state, "--yes"), run("version")],
    { rounds: 15, warmup: 3 },
  );
  const peer = { name: "op-dbus version", value: version! };
  return [row("state-apply/nothing", "ms", "lower", apply!, peer)];
}

export const benches: Bench[] = [
  {
    name: "state-read",
    about: "a query of 200 properties, a plan for 500 resources, a plan from the cache",
    run: readAndPlan,
  },
  {
    name: "state-apply",
    about: "`apply` of nothing from start to end, with the source bundle",
    run: applyNothing,
  },
];
