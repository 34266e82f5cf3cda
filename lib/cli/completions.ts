/** op-dbus completions, and the hidden answer to a shell's Tab. */
import { command } from "./command.ts";
import { type Shell, SHELLS } from "./completion_scripts.ts";

export const completions = command<object, [Shell]>({
  brief: "Print the completion script of a shell",
  description:
    "Completes commands, flags, and the names of plugins, snapshots, models\n" +
    "and repositories. To keep: bash: /etc/bash_completion.d/op-dbus; zsh: _op-dbus in\n" +
    "a folder of $fpath; fish: ~/.config/fish/completions/op-dbus.fish.",
  examples: [
    "op-dbus completions bash > /etc/bash_completion.d/op-dbus",
    "op-dbus completions fish | source",
  ],
  flags: {},
  positional: {
    kind: "tuple",
    parameters: [{
      brief: `Shell: ${SHELLS.join(", ")}`,
      placeholder: SHELLS.join("|"),
      parse: parseShell,
    }],
  },
  async run({ out }, _flags, shell) {
    const { completionScript } = await import("./completion_scripts.ts");
    out.result(
      { shell, script: completionScript(shell) },
      () => completionScript(shell).trimEnd(),
    );
  },
});

function parseShell(text: string): Shell {
  const shell = SHELLS.find((shell) => shell === text);
  if (!shell) throw new SyntaxError(`expected one of ${SHELLS.join(", ")}`);
  return shell;
}

/**
 * Answers a shell (complete.ts tells the form).
 *
 * @param words what follows `__complete`
 */
export async function answerShell(words: readonly string[]): Promise<string> {
  const { complete } = await import("./complete.ts");
  const { commandTree } = await import("./tree.ts");
  const { loadRoutes } = await import("./app.ts");
  const { extra, candidates } = complete(commandTree(await loadRoutes()), words);
  // A name with a line end or a tab in it cannot be told to a shell.
  const lines = candidates.filter(({ word }) => !/\p{Cc}/u.test(word))
    .map(({ word, about }) => `${word}\t${about.replace(/\s+/g, " ")}`);
  return [extra, ...lines].join("\n") + "\n";
}
