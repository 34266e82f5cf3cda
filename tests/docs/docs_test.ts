/** Runs every `console` block of the documentation and compares what it says. */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { cliCommand, cliEnvironment } from "../support/cli.ts";
import { btrfsScratch, platformTest } from "../support/scratch.ts";
import { commandsOf, commandTree } from "../../lib/cli/tree.ts";
import { loadRoutes } from "../../lib/cli/app.ts";
import { TOPICS } from "../../lib/cli/help_topics.ts";
import { reference } from "../../scripts/docs.ts";

const REPO = new URL("../../", import.meta.url).pathname;
const PAGES = [
  "README.md",
  ...[...Deno.readDirSync(`${REPO}docs`)].map(({ name }) => `docs/${name}`),
].sort();

interface Step {
  readonly line: string;
  /** Lines that must be printed in this order; `...` stands for anything. */
  readonly expected: readonly string[];
}

function stepsOf(page: string): Step[] {
  const blocks = page.matchAll(/^```console\n([\s\S]*?)^```$/gm);
  return [...blocks].flatMap(([, block]) =>
    block!.split(/^\$ /m).slice(1).map((part) => {
      const [line = "", ...expected] = part.trimEnd().split("\n");
      return { line, expected: expected.filter((text) => text !== "...") };
    })
  );
}

function patternOf(line: string): RegExp {
  const parts = line.split("...").map((part) => RegExp.escape(part));
  return new RegExp(`^${parts.join(".*")}$`);
}

function missing(output: string, expected: readonly string[]): string | undefined {
  const lines = output.split("\n");
  return expected.find((wanted) => {
    const at = lines.findIndex((line) => patternOf(wanted).test(line.trimEnd()));
    lines.splice(0, at + 1);
    return at < 0;
  });
}

async function runSteps(steps: readonly Step[], folder: string): Promise<void> {
  const program = cliCommand().map((word) => `'${word}'`).join(" ");
  await Deno.mkdir(`${folder}/bin`);
  await Deno.writeTextFile(`${folder}/bin/op-dbus`, `#!/bin/sh\nexec ${program} "$@"\n`, {
    mode: 0o755,
  });
  await Deno.copyFile(`${REPO}tests/data/host-notes.txt`, `${folder}/notes.txt`);
  const env = {
    ...cliEnvironment(),
    PATH: `${folder}/bin:${Deno.env.get("PATH")}`,
    OPDBUS_ROOT: `${folder}/root`,
  };
  for (const { line, expected } of steps) {
    const { code, stdout, stderr } = await new Deno.Command("bash", {
      args: ["-c", line],
      cwd: folder,
      clearEnv: true,
      env,
      stdin: "null",
    }).output();
    const text = new TextDecoder();
    const output = text.decode(stdout) + text.decode(stderr);
    assertEquals(code, 0, `${line}\n${output}`);
    assertEquals(missing(output, expected), undefined, `${line}\n${output}`);
  }
}

for (const path of PAGES) {
  const steps = stepsOf(Deno.readTextFileSync(REPO + path));
  if (steps.length === 0) continue;
  platformTest(`${path}: its examples do what it says`, async () => {
    await using scratch = await btrfsScratch();
    await runSteps(steps, scratch.path);
  });
}

Deno.test("every op-dbus that a page or a topic names is a command, with its flags", async () => {
  const commands = commandsOf(commandTree(await loadRoutes()));
  const texts = [
    ...PAGES.map((path) => [path, Deno.readTextFileSync(REPO + path)]),
    ...Object.entries(TOPICS).map(([name, { text }]) => [`help ${name}`, text]),
  ];
  const wrong: string[] = [];
  for (const [place, text] of texts) {
    const lines = text!.matchAll(
      /^[ \t]*(?:\$ )?(?:\S+ \* \* \* \* root )?(?:sudo )?op-dbus (.+)$/gm,
    );
    for (const [, rest] of lines) {
      const words = rest!.split(/[|>#]/)[0]!.trim().split(/\s+/);
      if (words[0]!.startsWith("-") || /^[A-Z]|^verifies\b/.test(words[0]!)) continue;
      const command = commands.find(({ path }) =>
        path.every((word, index) => words[index] === word)
      );
      const flags = words.filter((word) => /^--[a-z]/.test(word))
        .map((word) => word.slice(2).replace(/=.*$/, ""));
      const known = command?.flags.map(({ name }) => name);
      if (!known || !flags.every((flag) => known.includes(flag))) {
        wrong.push(`${place}: op-dbus ${rest}`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("docs/reference.md is what `deno task docs` writes", async () => {
  const { stdout } = await format(await reference());
  const written = await Deno.readTextFile(`${REPO}docs/reference.md`);
  assertTrue(
    new TextDecoder().decode(stdout) === written,
    "docs/reference.md is old: run deno task docs",
  );
});

async function format(text: string) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--ext", "md", "--config", `${REPO}deno.json`, "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  return await child.output();
}
