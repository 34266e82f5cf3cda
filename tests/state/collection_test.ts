import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { privateBus, PYTHON } from "../support/private_bus.ts";
import { signs, StateRoot } from "../support/state_root.ts";
import { OpError, RolledBackError } from "../../lib/base/errors.ts";
import { checkMapping } from "../../lib/plugin/mapping.ts";
import { apply } from "../../lib/state/apply.ts";
import { createCheckpoint, listCheckpoints } from "../../lib/state/checkpoint.ts";
import { rollbackToBlock, rollbackToCheckpoint } from "../../lib/state/rollback.ts";

const PEER = new URL("./peers/things.py", import.meta.url).pathname;
const SERVICE = "org.test.Things", PATH = "/org/test/Things";

/** The service's mapping; `list` says how the things are found. */
function thingsMapping(list: string, fields = ""): string {
  return `[service]
name = "${SERVICE}"
path = "${PATH}"
interface = "${SERVICE}"
[methods.list_things]
safe = true
[methods.get_mood]
safe = true
returns = [{ name = "mood", type = "s" }]
[methods.set_mood]
args = [{ name = "mood", type = "s" }]
[methods.create_thing]
args = [{ name = "name", type = "s" }, { name = "colour", type = "s" }]
[methods.delete_thing]
args = [{ name = "name", type = "s" }]
[methods.set_size]
interface = "org.test.Thing"
path = "{object}"
args = [{ name = "size", type = "u" }]
[state.mood]
kind = "value"
read = { method = "get_mood" }
write = { method = "set_mood" }
[state.things]
kind = "collection"
${list}
object_interface = "org.test.Thing"
key = "name"
create = { method = "create_thing" }
delete = { method = "delete_thing" }
fields.name = { property = "Name", type = "s" }
${fields || 'fields.colour = { property = "Colour" }'}
fields.size = { property = "Size", type = "u", write = { method = "set_size" } }
`;
}
const LIST = 'list = { method = "list_things" }';
const MANAGED = `object_manager = "${PATH}"`;
const SERIAL = 'fields.colour = { property = "Colour" }\n' +
  'fields.serial = { property = "Serial", type = "t" }';

async function startThings(mapping: string) {
  const bus = await privateBus();
  await bus.start(SERVICE, PYTHON, PEER);
  const root = await StateRoot.make(bus.address, [], { lab: mapping });
  const own = await root.buses.get("system");
  const to = { destination: SERVICE, path: PATH, interface: SERVICE };
  return {
    root,
    bus: own,
    arm: (method: string, mode: string) =>
      own.call({ ...to, member: "Arm", signature: "ss", args: [method, mode] }),
    log: async () => (await own.call({ ...to, member: "GetLog" })).values[0],
    async [Symbol.asyncDispose]() {
      await root[Symbol.asyncDispose]();
      await bus[Symbol.asyncDispose]();
    },
  };
}

Deno.test("an ObjectManager gives all objects by one call; without it each is asked", async () => {
  const states = [];
  for (const [list, trips] of [[MANAGED, 2], [`${LIST}\n${MANAGED}`, 3], [LIST, 5]]) {
    await using lab = await startThings(thingsMapping(String(list), SERIAL));
    const before = lab.bus.roundTrips;
    states.push(await lab.root.state("lab"));
    // One of them is the mood's.
    assertEquals(lab.bus.roundTrips - before, trips, String(list));
  }
  const { things } = states[0]!;
  assertEquals(things.thing1, {
    $object: `${PATH}/t2`,
    name: "thing1",
    colour: "green",
    serial: "9223372036854775810",
    size: 1,
  });
  assertEquals(Object.keys(things).sort(), ["thing0", "thing1", "thing2"]);
  assertEquals(states[1], states[0]);
  assertEquals(states[2], states[0]);
});

Deno.test("where the ObjectManager is not what the mapping says, objects are asked one by one", async () => {
  const elsewhere = 'object_manager = "/elsewhere"';
  await using lab = await startThings(thingsMapping(`${LIST}\n${elsewhere}`));
  assertEquals(Object.keys((await lab.root.state("lab")).things).length, 3);
  await using lost = await startThings(thingsMapping(elsewhere));
  assertIncludes((await lost.root.state("lab")).things.$unknown, "UnknownMethod");
});

Deno.test("two objects of one name: neither is guessed", async () => {
  await using lab = await startThings(thingsMapping(MANAGED));
  await lab.root.apply({ lab: { things: { twin: { colour: "red" } } } });
  await lab.bus.call({
    ...{ destination: SERVICE, path: PATH, interface: SERVICE, member: "CreateThing" },
    ...{ signature: "ss", args: ["twin", "blue"] },
  });
  const { things } = await lab.root.state("lab");
  assertIncludes(things.twin.$unknown, "two entries");
  assertEquals(things.thing0.colour, "red");
  const plan = await lab.root.diff({ lab: { things: { twin: null, thing0: null } } });
  assertEquals(signs(plan.changes), ["? lab.things.twin", "- lab.things.thing0"]);
});

Deno.test("a deletion is over when the object is gone, not only its entry", async () => {
  await using lab = await startThings(thingsMapping(MANAGED));
  const { $object: object } = (await lab.root.state("lab")).things.thing2;
  // Four properties: it answers to one GetAll, and to another.
  await lab.arm("DeleteThing", "linger:8");
  await lab.root.apply({ lab: { things: { thing2: null } } });
  await assertRejects(
    () =>
      lab.bus.call({
        destination: SERVICE,
        path: object,
        interface: "org.freedesktop.DBus.Properties",
        member: "GetAll",
        signature: "s",
        args: ["org.test.Thing"],
      }),
    OpError,
  );
});

Deno.test("a deleted entry is made again exactly where the service tells all of it", async () => {
  await using lab = await startThings(thingsMapping(MANAGED));
  const before = await lab.root.state("lab");
  const wanted = { lab: { mood: "bad", things: { thing2: null } } };
  const plan = await lab.root.diff(wanted);
  assertEquals(plan.changes.map(({ undo_note }) => undo_note), [null, null]);
  // A deletion that answers and does nothing: the entry is not made a second time.
  await lab.arm("DeleteThing", "type:s:'gone'");
  await assertRejects(
    () => lab.root.apply(wanted),
    RolledBackError,
    /2 of 2 changes undone/,
  );
  assertEquals(await lab.root.state("lab"), before);
  await lab.root.apply(wanted);
  assertEquals((await lab.root.state("lab")).things.thing2, undefined);
  await rollbackToCheckpoint("latest", lab.root.options);
  const { $object: _new, ...again } = (await lab.root.state("lab")).things.thing2;
  const { $object: _old, ...old } = before.things.thing2;
  assertEquals(again, old);
});

Deno.test("an apply that fails after a deletion makes the entry again, with its fields", async () => {
  // Deletions come last: two of them, and the second one fails.
  await using lab = await startThings(thingsMapping(MANAGED));
  let calls = 0;
  const wanted = { lab: { things: { thing1: null, thing2: null } } };
  const error = await assertRejects(
    () =>
      lab.root.apply(wanted, {
        progress: () => void (++calls === 2 && lab.arm("DeleteThing", "fail")),
      }),
    RolledBackError,
  );
  assertIncludes(error.message, "told to fail; 1 of 1 changes undone");
  assertEquals(await lab.log(), [
    "DeleteThing(thing2)",
    "CreateThing(thing2, blue)",
    "SetSize(2)",
  ]);
});

Deno.test("a plan from the cache is of what is there, as far as undoing it goes", async () => {
  await using lab = await startThings(thingsMapping(MANAGED));
  const wanted = { lab: { things: { thing2: null } } };
  await lab.root.diff(wanted);
  // What is to be deleted is not named in the document, and has changed.
  await lab.root.apply({ lab: { things: { thing2: { size: 99 } } } });
  const plan = await lab.root.diff(wanted);
  assertIncludes(JSON.stringify(plan.changes[0]!.before), '"size":99');
  await apply({ plan }, lab.root.options);
  await rollbackToCheckpoint("latest", lab.root.options);
  assertEquals((await lab.root.state("lab")).things.thing2.size, 99);
  // Made anew it is another object with the same values: the call goes to that one.
  const bigger = { lab: { things: { thing2: { size: 100 } } } };
  await lab.root.diff(bigger);
  const { thing2 } = (await lab.root.state("lab")).things;
  await lab.root.apply(wanted);
  await lab.root.apply({ lab: { things: { thing2: { colour: "blue", size: 99 } } } });
  const { $object } = (await lab.root.state("lab")).things.thing2;
  const [resized] = (await lab.root.diff(bigger)).changes;
  assertEquals([resized!.call!.path, $object === thing2.$object], [$object, false]);
  // Changed after the plan was made, it is another thing than was agreed to.
  const old = await lab.root.diff(wanted);
  await lab.root.apply({ lab: { things: { thing2: { size: 5 } } } });
  const stale = await assertRejects(
    () => apply({ plan: old }, lab.root.options),
    OpError,
  );
  assertIncludes(stale.message, "what is there has changed");
});

Deno.test("what making an entry again cannot give is named before the call and after", async () => {
  await using lab = await startThings(thingsMapping(MANAGED, SERIAL));
  const wanted = { lab: { things: { thing2: null } } };
  const [change] = (await lab.root.diff(wanted)).changes;
  assertEquals(change!.undo_note, "made again without its serial");
  assertEquals(change!.undo?.member, "CreateThing");
  await lab.root.apply(wanted);
  assertEquals(listCheckpoints(lab.root.layout).at(-1)!.left_out, [
    "lab.things.thing2: made again without its serial",
  ]);
  const back = await rollbackToCheckpoint("latest", lab.root.options);
  assertEquals(back.leftOut, ["lab.things.thing2: made again without its serial"]);
  assertEquals((await lab.root.state("lab")).things.thing2.size, 2);
});

Deno.test("an entry that needs what nobody tells is not undone; the rest is", async () => {
  const secret = 'fields.colour = { create_only = true, type = "s" }';
  await using lab = await startThings(thingsMapping(MANAGED, secret));
  const wanted = { lab: { mood: "bad", things: { thing2: null } } };
  const [mood, thing] = (await lab.root.diff(wanted)).changes;
  assertEquals([mood!.undo_note, thing!.undo], [null, null]);
  const why = 'making it needs "colour", which nothing tells';
  assertEquals(thing!.undo_note, why);
  await lab.root.apply(wanted);
  const [block] = lab.root.recorded;
  assertEquals(block!.data.left_out, [`lab.things.thing2: ${why}`]);
  const blocks = [{ ...block!, number: 1 }];
  const back = await rollbackToBlock(0, blocks, lab.root.options);
  assertEquals(back.leftOut, [`lab.things.thing2: ${why}`]);
  assertEquals(back.applied, ["lab.mood"]);

  // A checkpoint of everything names it among what it could not bring back.
  const { plugins, layout, buses } = lab.root;
  const all = await createCheckpoint(layout, plugins, buses);
  await lab.root.apply({ lab: { mood: "worse", things: { thing1: null } } });
  const part = await rollbackToCheckpoint(all.id, lab.root.options);
  assertEquals(part.applied, ["lab.mood"]);
  assertEquals(signs(part.plan.changes.slice(1)), ["? lab.things.thing1"]);
  // A document of a person is refused as a whole.
  const missing = await assertRejects(
    () => lab.root.apply({ lab: { mood: "x", things: { thing9: {} } } }),
    OpError,
  );
  assertIncludes(missing.message, why);
});

Deno.test("an answer of another type than the mapping says is unknown, and never written over", async () => {
  await using lab = await startThings(thingsMapping(MANAGED));
  await lab.arm("GetMood", "type:as:['calm']");
  const { mood, things } = await lab.root.state("lab");
  assertIncludes(mood.$unknown, '"as", and the mapping says "s"');
  assertEquals(Object.keys(things).length, 3);
  await lab.arm("GetMood", "type:i:5");
  const error = await assertRejects(
    () => lab.root.apply({ lab: { mood: "gay", things: { thing0: null } } }),
    OpError,
  );
  assertEquals(error.code, "unknown_state");
  await lab.arm("GetManagedObjects", "type:a{os}:{'/a': 'b'}");
  assertIncludes((await lab.root.state("lab")).things.$unknown, 'types "a{os}"');
  assertEquals(await lab.log(), []);
  // A property of another type than the field says.
  const wrong = thingsMapping(MANAGED).replace('type = "u", write', 'type = "t", write');
  await lab.root.put("lab", "semantic-mapping.toml", wrong);
  const { thing0 } = (await lab.root.state("lab")).things;
  assertIncludes(thing0.size.$unknown, '"u", and the mapping says "t"');
});

Deno.test("a change that answers with another type than promised counts by what it did", async () => {
  await using lab = await startThings(thingsMapping(MANAGED));
  await lab.arm("SetMood", "type:s:'done'"); // and does nothing
  const error = await assertRejects(
    () => lab.root.apply({ lab: { mood: "gay" } }),
    RolledBackError,
  );
  assertIncludes(error.message, "not as wanted: lab.mood");
});

Deno.test("a collection's mapping says where its entries are", () => {
  const check = (list: string) =>
    checkMapping(thingsMapping(list), "m").problems.map(({ message }) => message);
  assertEquals(check(MANAGED), []);
  assertEquals(check(""), ['a collection needs "list" or "object_manager"']);
  const rows = thingsMapping(MANAGED).replace(/^object_interface.*\n/m, "");
  assertIncludes(
    checkMapping(rows, "m").problems.map(({ message }) => message).join(),
    '"object_manager" needs "object_interface"',
  );
});
