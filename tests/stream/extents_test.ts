import { type Extent, ExtentMap } from "../../lib/stream/extents.ts";
import { assertEquals } from "../support/assert.ts";

const SIZE = 200;

/** A byte array where each byte knows its source and inner offset. */
class Model {
  readonly bytes: (readonly [source: number, inner: number] | null)[] = new Array(SIZE)
    .fill(null);
  set(at: number, length: number, source: number, inner: number) {
    for (let n = 0; n < length; n++) this.bytes[at + n] = [source, inner + n];
  }
  clear(from: number, to: number) {
    this.bytes.fill(null, from, Math.min(to, SIZE));
  }
  paste(at: number, copied: (readonly [number, number] | null)[]) {
    copied.forEach((byte, n) => this.bytes[at + n] = byte);
  }
}

function flatten(map: ExtentMap): (readonly [number, number] | null)[] {
  const bytes: (readonly [number, number] | null)[] = new Array(SIZE).fill(null);
  let end = 0, covered = 0;
  for (let index = 0; index < map.count; index++) {
    const { at, length, source, inner } = map.get(index);
    assertEquals(at >= end && length > 0, true, "sorted and apart");
    end = at + length;
    covered += length;
    for (let n = 0; n < length; n++) bytes[at + n] = [source, inner + n];
  }
  assertEquals(map.coveredBytes, covered);
  return bytes;
}

Deno.test("extents behave like an array of bytes, whatever is done to them", () => {
  let seed = 12345;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  for (let round = 0; round < 300; round++) {
    const map = new ExtentMap(), model = new Model();
    for (let step = 0; step < 40; step++) {
      const at = random(SIZE - 50), length = random(50), what = random(5);
      if (what < 3) {
        const source = random(1000) - 200, inner = random(100);
        map.set(at, length, source, inner);
        model.set(at, length, source, inner);
      } else if (what === 3) {
        const to = random(4) ? at + length : Infinity;
        map.clear(at, to);
        model.clear(at, to);
      } else {
        const from = random(SIZE - 50);
        const pieces: Extent[] = map.slice(from, from + length);
        const copied = model.bytes.slice(from, from + length);
        map.paste(at, length, pieces);
        model.paste(at, copied);
      }
      assertEquals(flatten(map), model.bytes, `round ${round} step ${step}`);
    }
  }
});

Deno.test("thousands of pieces are pasted at once", () => {
  const map = new ExtentMap();
  for (let n = 0; n < 200_000; n++) map.set(n * 2, 1, n, 0);
  map.paste(500_000, 400_000, map.slice(0, 400_000));
  assertEquals(map.count, 400_000);
  assertEquals(map.get(399_999), { at: 899_998, length: 1, source: 199_999, inner: 0 });
});
