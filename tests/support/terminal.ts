/** A pseudo-terminal for tests, by script(1) of util-linux. */
import { cliCommand, cliEnvironment } from "./cli.ts";

/** op-dbus on a terminal of its own. */
export interface Terminal {
  /** Reads until the terminal has shown `text`. */
  shows(text: string): Promise<void>;
  /** Types. */
  type(text: string): Promise<void>;
  /** Waits for the end. */
  ended(): Promise<{ code: number; screen: string }>;
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}

/**
 * Starts op-dbus on a terminal.
 *
 * @param options `stdout`: a file that its standard output goes to instead
 */
export function onTerminal(
  args: readonly string[],
  options: { readonly stdout?: string } = {},
): Terminal {
  const redirect = options.stdout === undefined ? "" : ` > ${quoted([options.stdout])}`;
  const child = new Deno.Command("script", {
    args: ["-qefc", quoted([...cliCommand(), ...args]) + redirect, "/dev/null"],
    env: { ...cliEnvironment(), TERM: "xterm", NO_COLOR: "" },
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const writer = child.stdin.getWriter();
  const decoder = new TextDecoder();
  let screen = "";
  const readMore = async () => {
    const { done, value } = await reader.read();
    if (value) screen += decoder.decode(value, { stream: true });
    return !done;
  };
  return {
    async shows(text) {
      while (!screen.includes(text)) {
        if (!(await readMore())) throw new Error(`Never shown: ${text}\n${screen}`);
      }
    },
    async type(text) {
      await writer.write(new TextEncoder().encode(text));
    },
    async ended() {
      while (await readMore());
      const { code } = await child.status;
      await writer.abort().catch(() => {}); // script(1) is gone
      return { code, screen };
    },
  };
}
