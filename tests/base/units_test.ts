import { assertEquals, assertThrows } from "../support/assert.ts";
import {
  exactSize,
  formatAge,
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
} from "../../lib/base/units.ts";

Deno.test("sizes: binary units, fractions, spaces, any case", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["4096", 4096],
    ["512K", 524288],
    ["2G", 2147483648],
    ["2g", 2147483648],
    ["1.5GiB", 1610612736],
    ["64 MB", 67108864],
    ["7B", 7],
    [" 1T ", 1099511627776],
  ];
  for (const [text, bytes] of cases) assertEquals(parseSize(text), bytes, text);
  for (const bad of ["", "G", "-1", "1X", "1e9", "0x10", "1G2M", "٣G", "9999999P"]) {
    assertThrows(() => parseSize(bad), RangeError);
  }
});

Deno.test("durations: units add up, a bare number is refused", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["500ms", 500],
    ["60s", 60_000],
    ["5m", 300_000],
    ["5min", 300_000],
    ["24h", 86_400_000],
    ["1h30m", 5_400_000],
    ["90d", 7_776_000_000],
    ["2w 1d", 1_296_000_000],
    ["1y", 31_536_000_000],
    ["0.5h", 1_800_000],
  ];
  for (const [text, ms] of cases) assertEquals(parseDuration(text), ms, text);
  for (const bad of ["", "5", "h", "-1h", "1h2", "1 month", "1e3s", "99999999999999y"]) {
    assertThrows(() => parseDuration(bad), RangeError);
  }
});

Deno.test("what is shown exactly is read back as it was", () => {
  for (const bytes of [0, 1, 1000, 1024, 3 * 2 ** 20, 2 ** 31, 2 ** 40 + 1]) {
    assertEquals(parseSize(exactSize(bytes)), bytes);
  }
  for (const ms of [0, 1, 999, 60_000, 5_400_000, 90 * 86_400_000, 86_400_001]) {
    assertEquals(parseDuration(formatDuration(ms)), ms);
  }
});

Deno.test("sizes and ages for people", () => {
  assertEquals(formatSize(0), "0 B");
  assertEquals(formatSize(1536), "1.5 KiB");
  assertEquals(formatSize(2 ** 30 * 250), "250 GiB");
  assertEquals(formatAge(59_999), "59s");
  assertEquals(formatAge(3 * 86_400_000 + 5), "3d");
  assertEquals(formatAge(-3_600_000), "-1h");
});
