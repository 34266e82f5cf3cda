import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { privateBus } from "../support/private_bus.ts";
import { Bus } from "../../lib/dbus/bus.ts";
import { BusError } from "../../lib/dbus/bus_error.ts";
import { Buses } from "../../lib/state/buses.ts";

Deno.test("a bus that went away and came back is connected to again, once for all who wait", async () => {
  await using bus = await privateBus();
  await using buses = new Buses();
  const first = await buses.get(bus.address);
  const gone = new Promise((resolve) => first.onClosed(resolve));
  await bus.kill();
  await gone;
  // While it is away each attempt fails; none of them is kept.
  const error = await assertRejects(() => buses.get(bus.address), BusError);
  assertEquals(error.code as string, "dbus_unreachable");
  await bus.revive();
  const second = await Promise.all([1, 2, 3].map(() => buses.get(bus.address)));
  assertEquals(new Set(second).size, 1);
  assertEquals(typeof await second[0]!.driver("GetId"), "string");

  // The same where the one before was open a moment ago.
  const again = new Promise((resolve) => second[0]!.onClosed(resolve));
  await bus.kill();
  await bus.revive();
  await again;
  const third = await Promise.all([1, 2, 3].map(() => buses.get(bus.address)));
  assertEquals([new Set(third).size, third[0] === second[0]], [1, false]);
  assertEquals((await third[0]!.driver("ListNames") as string[]).length, 2);
});

Deno.test("who asks after a bus that is gone already is told as well, but not of the own end", async () => {
  await using bus = await privateBus();
  const lost = await Bus.connect(bus.address);
  const closed = await Bus.connect(bus.address);
  await closed[Symbol.asyncDispose]();
  closed.onClosed(() => {
    throw new Error("told of what this side did");
  });
  const first = new Promise<string>((resolve) => lost.onClosed(resolve));
  await bus.kill();
  const why = await first;
  assertIncludes(why, "closed");
  assertEquals(await new Promise<string>((resolve) => lost.onClosed(resolve)), why);
});
