/** Runs every `console` block of the documentation and compares what it says. */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest } from "../support/scratch.ts";
import { commandsOf, commandTree } from "../../lib/cli/tree.ts";
import { loadRoutes } from "../../lib/cli/app.ts";
import { TOPICS } from "../../lib/cli/help_topics.ts";
import { writtenPages } from "../../scripts/docs.ts";
import { type Stage, stageFor } from "./stages.ts";

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

/** Between the steps' outputs; no command prints it. */
const MARK = "<<<op-dbus-docs-step";

/**
 * Runs a page's steps in one shell, as somebody would who follows it, and compares what
 * each printed. A step may leave a program in the background; it ends with the shell.
 */
async function runSteps(steps: readonly Step[], stage: Stage): Promise<void> {
  const { folder, replace } = stage;
  const script =
    steps.map(({ line }) => `${replace(line)}\nprintf '\\n${MARK} %s\\n' $?\n`).join("") +
    "kill $(jobs -p) 2>/dev/null\nwait\n";
  const { stdout } = await new Deno.Command("bash", {
    args: ["-c", `exec 2>&1\n${script}`],
    cwd: folder,
    clearEnv: true,
    env: stage.env,
    stdin: "null",
  }).output();
  const outputs = new TextDecoder().decode(stdout).split(MARK);
  for (const [index, { line, expected }] of steps.entries()) {
    const printed = (outputs[index] ?? "").replace(/^ \d+\n/, "");
    const status = outputs[index + 1]?.match(/^ (\d+)\n/)?.[1];
    assertEquals(status, "0", `${line}\n${printed}`);
    assertEquals(missing(printed, expected), undefined, `${line}\n${printed}`);
  }
}

for (const path of PAGES) {
  const steps = stepsOf(Deno.readTextFileSync(REPO + path));
  if (steps.length === 0) continue;
  platformTest(`${path}: its examples do what it says`, async () => {
    await using scratch = await btrfsScratch(512);
    await using stage = await stageFor(path, scratch.path);
    await runSteps(steps, stage);
  });
}

Deno.test("what a page tells to type is an example that is run", () => {
  const loose = PAGES.filter((path) => path !== "docs/reference.md").flatMap((path) => {
    const text = Deno.readTextFileSync(REPO + path).replace(/^```[\s\S]*?^```$/gm, "");
    return [...text.matchAll(/^ {4,}(?:\$ |sudo )?(op-dbus .+)$/gm)]
      .map(([, line]) => `${path}: ${line}`);
  });
  assertEquals(loose, []);
});

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

Deno.test("docs/metrics.md names each metric of the service, and no other", async () => {
  const namesIn = (text: string) => text.match(/\bopdbus_\w+/g) ?? [];
  const folder = `${REPO}lib/daemon`;
  const sources = [...Deno.readDirSync(folder)].map(({ name }) =>
    Deno.readTextFileSync(`${folder}/${name}`)
  );
  const told = namesIn(await Deno.readTextFile(`${REPO}docs/metrics.md`));
  assertEquals([...new Set(told)].sort(), [...new Set(sources.flatMap(namesIn))].sort());
});

Deno.test("docs/reference.md has each flag, and each example on a line of its own", async () => {
  const lines = (await Deno.readTextFile(`${REPO}docs/reference.md`)).split("\n");
  const wanted = commandsOf(commandTree(await loadRoutes())).flatMap((command) => {
    const [, after = ""] = command.description.split(/^Examples?:\n/m);
    const examples = after.split("\n\n")[0]!.split("\n").map((line) => line.trim());
    return examples.filter((line) => line !== "");
  });
  assertEquals(wanted.filter((line) => !lines.includes(line)), []);
  for (const { flags } of commandsOf(commandTree(await loadRoutes()))) {
    for (const { name, letter, negatable } of flags) {
      const word = letter ? `-${letter}, --${name}` : `--${name}`;
      const row = new RegExp(
        `^- \`${word}( [^\`]+)?\`${negatable ? `, \`--no-${name}\`` : ""}: `,
      );
      assertTrue(lines.some((line) => row.test(line)), word);
    }
  }
});

Deno.test("the generated pages are what `deno task docs` writes", async () => {
  for (const [page, text] of Object.entries(await writtenPages())) {
    const { stdout } = await format(text);
    const written = await Deno.readTextFile(REPO + page);
    assertTrue(
      new TextDecoder().decode(stdout) === written,
      `${page} is old: run deno task docs`,
    );
  }
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
