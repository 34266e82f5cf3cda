import { assertEquals, assertRejects } from "../support/assert.ts";
import { privateBus } from "../support/private_bus.ts";
import { Bus } from "../../lib/dbus/bus.ts";
import { BusError } from "../../lib/dbus/bus_error.ts";

Deno.test("a bus with no room for a match rule: refused each time, and nothing is left over", async () => {
  await using peer = await privateBus(
    '<limit name="max_match_rules_per_connection">3</limit>',
  );
  await using bus = await Bus.connect(peer.address);
  const rule = (member: string) => ({ sender: "org.test.None", member });
  const subscribe = (member: string) => bus.subscribe(rule(member), () => {});
  // Each takes a rule of its own; they share the one that tells of the owner.
  const first = await subscribe("One");
  await subscribe("Two");
  for (const _attempt of [1, 2]) await assertRejects(() => subscribe("Three"), BusError);
  await first[Symbol.asyncDispose]();
  await subscribe("Three");
  assertEquals(bus.closedBecause, null);
});
