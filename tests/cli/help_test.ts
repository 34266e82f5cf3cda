import { assertEquals, assertIncludes } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { loadRoutes } from "../../lib/cli/app.ts";

interface Routes {
  getAllEntries(): { name: Record<string, string>; target: object; hidden: boolean }[];
}

/** Every command line that ends in a command, by walking the tree. */
function commandLines(prefix: string[], target: object): string[][] {
  if (!("getAllEntries" in target)) return [prefix];
  return (target as Routes).getAllEntries().flatMap((entry) =>
    commandLines([...prefix, entry.name["convert-camel-to-kebab"]!], entry.target)
  );
}

const ROUTES = await loadRoutes();
const ALL = Object.entries(ROUTES).flatMap(([name, target]) =>
  commandLines([name], target)
);

Deno.test("every command has --help with an example", async () => {
  const { generateHelpTextForAllCommands } = await import("@stricli/core");
  const { application } = await import("../../lib/cli/app.ts");
  const { text_en } = await import("@stricli/core");
  const help = generateHelpTextForAllCommands(
    application(ROUTES, text_en, () => 1) as never,
  );
  assertEquals(help.length >= ALL.length, true);
  for (const [route, text] of help) {
    assertIncludes(text, /Examples?:\n {2}(\S+=\S+ )*(sudo )?(op-dbus|echo|cat|printf) /);
    assertIncludes(text, /^USAGE\n/);
    assertEquals(text.includes("undefined"), false, route);
  }
});

Deno.test("--help of the executable lists every noun", async () => {
  const { code, stdout } = await cli(["--help"]);
  assertEquals(code, 0);
  for (const name of Object.keys(ROUTES)) {
    assertIncludes(stdout, new RegExp(`^ {2}${name} `, "m"));
  }
  assertIncludes(stdout, "--no-progress");
});

Deno.test("a closed pipe ends without a stack trace", async () => {
  const { cliCommand, cliEnvironment } = await import("../support/cli.ts");
  const line = cliCommand().map((word) => `'${word}'`).join(" ");
  const { stderr, code } = await new Deno.Command("sh", {
    args: ["-c", `${line} --help | true; sleep 0`],
    env: cliEnvironment(),
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(code, 0);
});

Deno.test("help explains cron, plugins, trust, numa and any command; else a near one", async () => {
  const all = await cli(["help"]);
  for (
    const [topic, says] of [
      ["cron", "/etc/cron.d/op-dbus"],
      ["plugins", "NAME-vVERSION.btrfs.zst"],
      ["trust", "SHA256SUMS, signed by the release key"],
      ["numa", "op-dbus doctor --measure"],
    ] as const
  ) {
    assertIncludes(all.stdout, new RegExp(`^ {2}${topic} `, "m"));
    const { code, stdout, stderr } = await cli(["help", topic]);
    assertEquals([code, stderr], [0, ""]);
    assertIncludes(stdout, says);
  }
  const command = await cli(["help", "snapshot", "create"]);
  assertIncludes(command.stdout, /^op-dbus snapshot create \[/);
  const wrong = await cli(["help", "crn"]);
  assertEquals([wrong.code, wrong.stdout], [2, ""]);
  assertIncludes(wrong.stderr, "did you mean cron?");
});
