import { assertEquals } from "../support/assert.ts";
import { sources } from "./sources.ts";

/** What each room may import besides itself. Arrows go down only (ARCHITECTURE.md). */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "ffi": [],
  "lib/base": ["ffi"],
  "lib/embed": ["lib/base", "ffi"],
  "lib/placement": ["lib/base", "ffi"],
  "lib/dbus": ["lib/base", "ffi"],
  "lib/stream": ["lib/base", "ffi"],
  "lib/cache": ["lib/embed", "lib/placement", "lib/base", "ffi"],
  "lib/snapshot": ["lib/stream", "lib/base", "ffi"],
  "lib/chain": ["lib/snapshot", "lib/base", "ffi"],
  "lib/plugin": ["lib/stream", "lib/dbus", "lib/snapshot", "lib/base", "ffi"],
  "lib/update": ["lib/plugin", "lib/base", "ffi"],
  "lib/state": ["lib/plugin", "lib/dbus", "lib/snapshot", "lib/base", "ffi"],
};
/** The rooms that may import every other one but lib/cli. */
const TOP = ["lib/daemon", "lib/cli"];

function room(path: string): string {
  const parts = path.split("/");
  return parts[0] === "lib" ? `lib/${parts[1]}` : parts[0]!;
}

function upwardImports(path: string, text: string): string[] {
  const from = room(path);
  const found: string[] = [];
  for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
    const target = new URL(specifier!, `file:///${path}`).pathname.slice(1);
    const to = room(target);
    if (to === from) continue;
    const allowed = TOP.includes(from)
      ? to !== "lib/cli" && (to.startsWith("lib/") || to === "ffi")
      : MAY_IMPORT[from]?.includes(to) ?? false;
    if (!allowed && target !== "deno.json") found.push(`${path} imports ${target}`);
  }
  return found;
}

Deno.test("no layer imports upward", () => {
  const found = sources(["ffi", "lib"]).flatMap(({ path, text }) =>
    upwardImports(path, text)
  );
  assertEquals(found, []);
});

Deno.test("the layer check sees a static, a dynamic and a re-exported upward import", () => {
  for (
    const text of [
      'import { x } from "../plugin/x.ts";',
      'const x = await import("../plugin/x.ts");',
      'export * from "../cli/x.ts";',
    ]
  ) assertEquals(upwardImports("lib/cache/a.ts", text).length, 1, text);
  assertEquals(upwardImports("ffi/a.ts", 'import "../lib/base/errors.ts";').length, 1);
  assertEquals(upwardImports("lib/base/a.ts", 'import "../../ffi/errno.ts";'), []);
});

Deno.test("only ffi/ calls Deno.dlopen", () => {
  const found = sources(["lib", "main.ts"]).filter(({ text }) => /\bdlopen\b/.test(text));
  assertEquals(found.map(({ path }) => path), []);
});

Deno.test("only lib/cli prints", () => {
  const prints =
    /\bconsole\.\w+\(|\bDeno\.(stdout|stderr)\b|\bprocess\.(stdout|stderr)\b/;
  const found = sources(["ffi", "lib"]).filter(({ path, text }) =>
    !path.startsWith("lib/cli/") && prints.test(text)
  );
  assertEquals(found.map(({ path }) => path), []);
});

Deno.test("no import from a place that cannot be reached", () => {
  const remote = /(?:from|import)\s*\(?\s*"(?:jsr:|https?:)/;
  const all = sources(["ffi", "lib", "tests", "scripts", "main.ts"]);
  assertEquals(all.filter(({ text }) => remote.test(text)).map(({ path }) => path), []);
});
