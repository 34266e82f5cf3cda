import { assertEquals, assertIncludes } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { EXIT } from "../../lib/base/errors.ts";
import { loadRoutes } from "../../lib/cli/app.ts";
import { commandsOf, commandTree } from "../../lib/cli/tree.ts";
import { manPages } from "../../scripts/release/man.ts";

const TREE = commandTree(await loadRoutes());
/** How mandoc prints bold: the character, a backspace, the character again. */
const OVERSTRUCK = new RegExp(String.raw`.\x08`, "g");

Deno.test("manual pages: one per command, none with a warning of mandoc's", async () => {
  await using scratch = await tempFolder();
  const pages = manPages(TREE, "1.2.3");
  assertEquals(pages.length, commandsOf(TREE).length + 1);
  const files = pages.map(({ file }) => `${scratch.path}/${file}`);
  for (const [index, { text }] of pages.entries()) {
    await Deno.writeTextFile(files[index]!, text);
  }
  const { stdout, success } = await new Deno.Command("mandoc", {
    args: ["-T", "lint", "-W", "warning", ...files],
  }).output();
  // No date: a page has the release's version, and the same source the same bytes.
  const complaints = new TextDecoder().decode(stdout).split("\n")
    .filter((line) => line !== "" && !line.includes("missing date"));
  assertEquals(complaints, []);
  assertEquals(success || complaints.length === 0, true);
});

Deno.test("manual pages: flags, examples and awkward characters survive rendering", async () => {
  await using scratch = await tempFolder();
  for (const { file, text } of manPages(TREE, "1.2.3")) {
    await Deno.writeTextFile(`${scratch.path}/${file}`, text);
  }
  const shown = await sh("mandoc", "-T", "ascii", `${scratch.path}/op-dbus-embed.1`);
  const page = shown.replace(OVERSTRUCK, "");
  assertIncludes(page, "--output json|jsonl|npy|raw|none");
  assertIncludes(page, `echo '{"id":7,"text":"hello"}' | op-dbus embed --jsonl`);
  const whole = (await sh("mandoc", "-T", "ascii", `${scratch.path}/op-dbus.1`))
    .replace(OVERSTRUCK, "");
  assertIncludes(whole, "another op-dbus holds the lock");
  for (const code of [...Object.values(EXIT), 125]) {
    assertIncludes(whole, new RegExp(`^ +${code} +\\S`, "m"));
  }
  for (const { path } of commandsOf(TREE)) assertIncludes(whole, path.join(" "));
});
