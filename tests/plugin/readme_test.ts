import { assertEquals, assertIncludes } from "../support/assert.ts";
import { parseMapping } from "../../lib/plugin/mapping.ts";
import { requireManifest } from "../../lib/plugin/manifest.ts";
import { pluginReadme } from "../../lib/plugin/readme.ts";
import { asPlainLine, isPlainLine } from "../../lib/plugin/plain_text.ts";

Deno.test("a README says what a plugin is, needs and may do; markup is shown, not obeyed", () => {
  const manifest = requireManifest(`[plugin]
name = "lxc"
version = "1.2.0"
author = "<script>alert(1)</script> [x](javascript:y)"
description = "Line one\\n# not a heading | not a cell"
requires_proxmox = true
dependencies = ["net@^1"]
`);
  const mapping = parseMapping(
    `[service]
name = "org.a.B"
[methods.read_it]
safe = true
[methods.change_it]
args = ["x|y"]
`.replace("x|y", "x_y"),
    "m",
  );
  const text = pluginReadme(manifest, mapping, ["1.2.0", "1.1.0"]);
  assertIncludes(text, "\\<script\\>alert\\(1\\)\\</script\\> \\[x\\]");
  assertIncludes(text, "Line one \\# not a heading \\| not a cell");
  assertIncludes(text, "- Needs: Proxmox VE\n- Needs: plugin `net@^1`");
  assertIncludes(text, "- Versions here: 1.2.0, 1.1.0");
  assertIncludes(text, "| `change_it` | `ChangeIt` | `x_y` | changes, asks |");
  assertIncludes(text, "| `read_it` | `ReadIt` |  | reads |");
});

Deno.test("what would paint a terminal is escaped", () => {
  const bad = [
    "\u001b[31m",
    "\u009b2J",
    "a\nb",
    "a\rb",
    "\u202egnp",
    "\u2066x",
    "\u2028",
    "\u0007",
  ];
  for (const text of bad) {
    assertEquals(isPlainLine(text), false, JSON.stringify(text));
    assertEquals(isPlainLine(asPlainLine(text)), true);
  }
  assertEquals(asPlainLine("grün 日本"), "grün 日本");
});
