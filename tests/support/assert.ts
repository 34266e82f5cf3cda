/** Assertions for tests. One place, so that the library behind it can be swapped. */
import assert from "node:assert/strict";

/** Deep, strict equality. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  assert.deepStrictEqual(actual, expected, message as string);
}

/** Truthiness, narrowing. */
export function assertTrue(value: unknown, message?: string): asserts value {
  assert.ok(value, message as string);
}

/** Text contains a piece, or matches a pattern. */
export function assertIncludes(text: string, piece: string | RegExp): void {
  const found = typeof piece === "string" ? text.includes(piece) : piece.test(text);
  assert.ok(found, `Expected ${JSON.stringify(piece.toString())} in:\n${text}`);
}

/** Runs `fn` and returns what it threw, which is a `type`. */
export function assertThrows<E extends Error>(
  fn: () => unknown,
  // deno-lint-ignore no-explicit-any
  type: abstract new (...args: any[]) => E,
  pattern?: RegExp,
): E {
  let thrown: unknown;
  try {
    fn();
  } catch (error) {
    thrown = error;
  }
  return checkThrown(thrown, type, pattern);
}

/** {@link assertThrows} for a promise. */
export async function assertRejects<E extends Error>(
  fn: () => Promise<unknown>,
  // deno-lint-ignore no-explicit-any
  type: abstract new (...args: any[]) => E,
  pattern?: RegExp,
): Promise<E> {
  let thrown: unknown;
  try {
    await fn();
  } catch (error) {
    thrown = error;
  }
  return checkThrown(thrown, type, pattern);
}

function checkThrown<E extends Error>(
  thrown: unknown,
  // deno-lint-ignore no-explicit-any
  type: abstract new (...args: any[]) => E,
  pattern?: RegExp,
): E {
  assert.ok(thrown !== undefined, `Expected ${type.name}, nothing was thrown`);
  assert.ok(thrown instanceof type, `Expected ${type.name}, got ${String(thrown)}`);
  if (pattern) assert.match(thrown.message, pattern);
  return thrown;
}
