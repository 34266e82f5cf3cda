import { assertEquals } from "../support/assert.ts";
import { sources } from "./sources.ts";

const CALL = /\b(?:sys|libc|calls)\.\w+\(/g;

/** The index behind the parenthesis that closes the one before `from`. */
function behindCall(text: string, from: number): number {
  let depth = 1, at = from;
  for (; depth > 0 && at < text.length; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")") depth--;
  }
  return at;
}

/** The reads of errno that something stands before which may change it; see ffi/libc.ts. */
function lateReads(path: string, text: string): string[] {
  const found: string[] = [];
  for (const { index } of text.matchAll(/\berrno\[0\]/g)) {
    const call = [...text.slice(0, index).matchAll(CALL)].at(-1);
    const between = call &&
      text.slice(behindCall(text, call.index + call[0].length), index);
    // A parenthesis that is still open is of a call that errno is an argument of.
    const harmless = between?.replace(/\bif \([^()]*\)/g, "");
    if (
      harmless === undefined || /[)`]|=>|\b(?:await|yield|new|for|while)\b/.test(harmless)
    ) {
      found.push(`${path}:${text.slice(0, index).split("\n").length}`);
    }
  }
  return found;
}

Deno.test("errno is read where the call stands, with nothing called between", () => {
  const late = sources(["ffi", "lib"]).flatMap(({ path, text }) => lateReads(path, text));
  assertEquals(late, []);
});

Deno.test("the errno check sees a function, a loop and a closure between", () => {
  for (
    const text of [
      "const n = Number(sys.lseek(fd, 0n, 2)); const e = errno[0];",
      "const n = sys.read(fd, b, 1n);\nsay(n);\nconst e = errno[0];",
      "const n = sys.read(fd, b, 1n);\nfor (;;) use = errno[0];",
      "const read = () => errno[0];",
      "sys.close(fd);\nconst read = () => errno[0];",
      "sys.close(fd);\nawait null;\nuse = errno[0];",
    ]
  ) assertEquals(lateReads("a", text).length, 1, text);
  for (
    const text of [
      'check(sys.openat(at(1), name, flags(2)), errno[0], "open");',
      "const r = sys.read(fd, b, 1n);\nconst number = errno[0];",
      "const r = sys.read(fd, b, 1n);\nif (r < 0n) lengths[at] = -errno[0];",
    ]
  ) assertEquals(lateReads("a", text), [], text);
});
