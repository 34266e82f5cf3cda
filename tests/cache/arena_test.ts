import { assertEquals, assertTrue } from "../support/assert.ts";
import { Arena } from "../../lib/cache/arena.ts";
import { denseVector } from "./support.ts";

const KEY = "0".repeat(64);
const nothing = () => {};

Deno.test("a hundred megabytes of vectors are right, and so are the views taken before", () => {
  const dimensions = 8192, count = 3000; // past two steps of what is shown of the memory
  using arena = new Arena(dimensions, count * dimensions * 4);
  assertEquals(arena.capacity, count);
  const vector = denseVector("x", dimensions);
  const early: Float32Array[] = [];
  for (let i = 0; i < count; i++) {
    vector[0] = i;
    arena.admit(`text ${i}`, KEY, vector, 0, nothing);
    if (i < 200) early.push(arena.view(`text ${i}`)!);
  }
  for (let i = 0; i < count; i++) {
    vector[0] = i;
    const view = arena.view(`text ${i}`)!;
    assertTrue(view[0] === i && view.every((x, j) => x === vector[j]), `text ${i}`);
    if (i < 200) assertEquals(early[i]![0], i);
  }
  assertEquals(arena.evictions, 0);
});

Deno.test("a slot that is used again shows its new vector, and the arena holds its limit", () => {
  using arena = new Arena(4, 4 * 4 * 3);
  const gone: string[] = [];
  for (let i = 0; i < 10; i++) {
    arena.admit(`t${i}`, KEY, Float32Array.of(i, 0, 0, 0), 0, ({ text }) => {
      gone.push(text);
    });
    assertEquals(arena.view(`t${i}`)![0], i);
    assertEquals(arena.view(`t${i}`), arena.view(`t${i}`), "no view is made for a hit");
  }
  assertEquals(arena.size, 3);
  assertEquals(gone.length, 7);
  arena.clear();
  assertEquals(arena.view("t9"), undefined);
  arena.admit("again", KEY, Float32Array.of(7, 0, 0, 0), 0, nothing);
  assertEquals(arena.view("again")![0], 7);
});

Deno.test("long texts take no more memory than the limit, and lose no use", () => {
  const limitBytes = 2 * 1024 * 1024;
  using arena = new Arena(2, limitBytes);
  const name = (i: number) => `${i} ${"long ".repeat(400)}`;
  const uses = new Map<string, number>();
  const count = ({ text, hits }: { text: string; hits: number }) => {
    uses.set(text, (uses.get(text) ?? 0) + hits);
  };
  for (let i = 0; i < 3000; i++) {
    arena.admit(name(i), KEY, Float32Array.of(i, 1), 0, count);
    assertEquals(arena.view(name(i))![0], i);
    if (i % 7 === 0) arena.admit(`short ${i}`, KEY, Float32Array.of(i, 2), 0, count);
  }
  const texts = arena.texts();
  assertEquals(texts.length, arena.size);
  assertTrue(texts.reduce((sum, text) => sum + 2 * text.length, 0) <= limitBytes);
  assertTrue(arena.size > 100 && arena.evictions > 2000, `${arena.size} kept`);
  for (const text of texts) {
    assertEquals(arena.view(text)![0], Number(/\d+/.exec(text)![0]), text.slice(0, 20));
  }
  for (const use of arena.takeUses()) count(use);
  for (let i = 0; i < 3000; i++) assertTrue(uses.get(name(i))! >= 1, `use of ${i}`);
});
