/** op-dbus help */
import { InputError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import { command } from "./command.ts";
import type { TreeNode } from "./tree.ts";

export const help = command<object, string[]>({
  brief: "Explain a command or a topic",
  description: "Without an argument it lists the topics: what does not belong to one\n" +
    "command alone.",
  examples: ["op-dbus help cron", "op-dbus help snapshot create"],
  flags: {},
  positional: {
    kind: "array",
    parameter: { brief: "Topic, or command", placeholder: "TOPIC", parse: String },
  },
  async run({ out }, _flags, ...words) {
    const { TOPICS } = await import("./help_topics.ts");
    if (words.length === 0) {
      const topics = Object.entries(TOPICS).map(([name, { brief }]) => ({ name, brief }));
      return out.result(
        { topics },
        () =>
          "Topics:\n" +
          topics.map(({ name, brief }) => `  ${name.padEnd(10)} ${brief}`).join("\n") +
          "\n\nop-dbus help TOPIC shows one; op-dbus --help lists the commands.",
      );
    }
    const [name] = words;
    const topic = words.length === 1 ? TOPICS[name!] : undefined;
    const text = topic?.text.trim() ?? await commandHelp(words, Object.keys(TOPICS));
    out.result({ name: words.join(" "), text }, () => text);
  },
});

async function commandHelp(
  words: readonly string[],
  topics: readonly string[],
): Promise<string> {
  const { commandTree } = await import("./tree.ts");
  const { helpText } = await import("./help_text.ts");
  const { loadRoutes } = await import("./app.ts");
  let nodes: readonly TreeNode[] = commandTree(await loadRoutes());
  let found: TreeNode | undefined;
  for (const word of words) {
    found = nodes.find(({ path }) => path.at(-1) === word);
    if (!found) {
      const known = [...nodes.map(({ path }) => path.at(-1)!), ...topics];
      const near = nearest(word, known);
      throw new InputError("unknown_topic", `No topic or command ${words.join(" ")}`, {
        hint: near ? `did you mean ${near}?` : "op-dbus help lists the topics",
      });
    }
    nodes = found.kind === "group" ? found.children : [];
  }
  return helpText(found!);
}
