import { assertEquals } from "../support/assert.ts";
import { sources } from "./sources.ts";

const MAX_FILE_LINES = 400;
const MAX_FUNCTION_LINES = 70;
/** Files that are tables rather than code. */
const TABLES = ["ffi/errno_table.ts"];

/** Functions and methods by their first line; deno fmt puts the closing brace below it. */
function longFunctions(path: string, text: string): string[] {
  const lines = text.split("\n");
  const opens =
    /^(\s*)(?:export (?:default )?)?(?:(?:static |async |override |private |get |set )*(?:function\b\*?|[\w#]+(?=[(<])|\*?\[?[\w.#]+\]?(?=\())).*$/;
  const found: string[] = [];
  lines.forEach((line, start) => {
    const match = opens.exec(line);
    if (
      !match || /^\s*(?:if|for|while|switch|return|await|throw|const|catch)\b/.test(line)
    ) {
      return;
    }
    const indent = match[1]!;
    let body = start;
    while (body < lines.length && !lines[body]!.endsWith("{")) {
      if (lines[body]!.endsWith(";") || lines[body] === "") return;
      body += 1;
    }
    const end = lines.findIndex((later, i) => i > body && later.startsWith(`${indent}}`));
    const length = end - start + 1;
    if (length > MAX_FUNCTION_LINES) {
      found.push(`${path}:${start + 1} has ${length} lines`);
    }
  });
  return found;
}

Deno.test("no file is longer than 400 lines", () => {
  const long = sources(["ffi", "lib", "scripts", "tests", "main.ts"])
    .filter(({ path }) => !TABLES.includes(path))
    .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > MAX_FILE_LINES);
  assertEquals(long, []);
});

Deno.test("no function of the product is longer than 70 lines", () => {
  const found = sources(["ffi", "lib", "main.ts"]).flatMap(({ path, text }) =>
    longFunctions(path, text)
  );
  assertEquals(found, []);
});

Deno.test("the function check sees a function, a method and a long signature", () => {
  const body = "  x();\n".repeat(MAX_FUNCTION_LINES);
  for (
    const text of [
      `export async function f(\n  a: number,\n): Promise<void> {\n${body}}\n`,
      `class A {\n  async #m(a: number): Promise<void> {\n${body}  }\n}\n`,
      `function* g() {\n${body}}\n`,
    ]
  ) assertEquals(longFunctions("a.ts", text).length, 1, text.slice(0, 60));
  assertEquals(longFunctions("a.ts", "function f() {\n  x();\n}\n"), []);
});

Deno.test("no file names a registry's host or leaves a note to do later", () => {
  const host = new RegExp(["registry", "npmjs"].join("\\."));
  const later = new RegExp(
    `\\b(?:${["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|")})\\b`,
  );
  const bad = sources(["ffi", "lib", "scripts", "tests", "main.ts"])
    .filter(({ text }) => host.test(text) || later.test(text));
  assertEquals(bad.map(({ path }) => path), []);
});
