import { assertEquals } from "../support/assert.ts";
import { EXAMPLES, StateRoot } from "../support/state_root.ts";
import { parseDocument, readStateFile } from "../../lib/state/document.ts";
import { parseJsonText } from "../../lib/state/json_text.ts";
import type { Desired } from "../../lib/state/model.ts";
import { validateDesired } from "../../lib/state/plan.ts";

const PLUGINS = ["accounts", "firewalld", "hostname", "locale", "machine", "timedate"];

Deno.test("the examples of the shipped plugins fit their mappings", async () => {
  await using root = await StateRoot.make("unix:path=/none", PLUGINS);
  assertEquals(root.plugins.map(({ name }) => name), PLUGINS);
  let count = 0;
  for (const name of PLUGINS) {
    for (const { name: file } of Deno.readDirSync(`${EXAMPLES}${name}/examples`)) {
      const path = `${EXAMPLES}${name}/examples/${file}`;
      const { desired } = readStateFile(path) as { desired: Desired };
      validateDesired(root, desired, file);
      count++;
    }
  }
  assertEquals(count >= PLUGINS.length, true);
});

Deno.test("the state file in the documentation is right", async () => {
  await using root = await StateRoot.make("unix:path=/none", PLUGINS);
  const docs = new URL("../../docs/desired-state.md", import.meta.url);
  const text = /\n( {4}\{\n[\s\S]*?\n {4}\})\n/.exec(await Deno.readTextFile(docs))![1]!;
  const document = parseDocument(parseJsonText(text, "docs"), "docs");
  validateDesired(root, document, "docs");
});
