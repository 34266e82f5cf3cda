import { assertEquals } from "../support/assert.ts";
import { namesFor, snapshotName, snapshotTime } from "../../lib/snapshot/name.ts";

const at = Date.UTC(2025, 0, 15, 10, 0, 42, 7);

Deno.test("names are UTC, to the minute, the second, the millisecond", () => {
  assertEquals(snapshotName("cache", at), "cache@2025-01-15-10:00");
  assertEquals(snapshotName("cache", at, "second"), "cache@2025-01-15-10:00:42");
  assertEquals(snapshotName("cache", at, "millisecond"), "cache@2025-01-15-10:00:42.007");
});

Deno.test("a name is read back, and only a name that op-dbus gives", () => {
  assertEquals(
    snapshotTime("cache", "cache@2025-01-15-10:00"),
    Date.UTC(2025, 0, 15, 10),
  );
  assertEquals(snapshotTime("cache", "cache@2025-01-15-10:00:42.007"), at);
  assertEquals(
    snapshotTime("cache", "cache@2024-02-29-00:00"),
    Date.UTC(2024, 1, 29),
  );
  for (
    const bad of [
      "state@2025-01-15-10:00",
      "cache",
      "cache@",
      "cache@2025-02-29-00:00",
      "cache@2025-13-01-00:00",
      "cache@2025-01-15-24:00",
      "cache@2025-01-15-10:60",
      "cache@2025-01-15-10:00:60",
      "cache@2025-01-15-10:00:42.7",
      "cache@2025-01-15-10:00 ",
      "cache@2025-1-15-10:00",
      "cache@v1.2.0",
      "cache@\u0662025-01-15-10:00",
    ]
  ) assertEquals(snapshotTime("cache", bad), null, bad);
});

Deno.test("every minute of years with leap days and clock changes has its own name", () => {
  const seen = new Set<string>();
  for (let day = Date.UTC(2023, 11, 30); day < Date.UTC(2025, 0, 2); day += 86_400_000) {
    for (const offset of [0, 3_600_000, 7_200_000, 86_340_000]) {
      const name = snapshotName("c", day + offset);
      assertEquals(snapshotTime("c", name), day + offset);
      seen.add(name);
    }
  }
  assertEquals(seen.size, 369 * 4);
});

Deno.test("a new snapshot's name stands behind those that are there", () => {
  const at = Date.UTC(2025, 0, 15, 10, 0, 0, 7), minute = "c@2025-01-15-10:00";
  const second = `${minute}:00`, ms = `${minute}:00.007`;
  assertEquals(namesFor("c", at, []), [minute, second, ms]);
  assertEquals(namesFor("c", at, [minute]), [second, ms]);
  assertEquals(namesFor("c", at, [minute, second]), [ms]);
  // Its owner was deleted: a name that tells the same time would look older.
  assertEquals(namesFor("c", at, [second]), [ms]);
  assertEquals(namesFor("c", at, [`${minute}:00.003`]), [ms]);
  // From the future, and of another minute.
  assertEquals(namesFor("c", at, [`${minute}:30`, "c@2025-01-15-10:01"]).length, 3);
});
