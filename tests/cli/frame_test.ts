import { assertEquals, assertIncludes } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { tempFolder } from "../support/scratch.ts";
import { splitLeadingGlobals } from "../../lib/cli/globals.ts";
import { VERSION } from "../../lib/base/version.ts";
import denoJson from "../../deno.json" with { type: "json" };

Deno.test("the version is deno.json's", async () => {
  assertEquals(VERSION, denoJson.version);
  const { code, stdout } = await cli(["version", "--json"]);
  assertEquals(code, 0);
  assertEquals(JSON.parse(stdout).version, VERSION);
});

Deno.test("a mistyped command is answered with the nearest one, exit 2", async () => {
  const { code, stdout, stderr } = await cli(["versoin"]);
  assertEquals(code, 2);
  assertEquals(stdout, "");
  assertEquals(
    stderr,
    'op-dbus: Unknown command "versoin" (did you mean version? see op-dbus --help)\n',
  );
});

Deno.test("a mistyped flag is answered with the nearest one, exit 2", async () => {
  const { code, stderr } = await cli(["version", "--jsno"]);
  assertEquals(code, 2);
  assertIncludes(stderr, "Unknown flag --jsno (did you mean --json?");
  const help = await cli(["version", "--hepl"]);
  assertEquals(help.code, 2);
  assertIncludes(help.stderr, "did you mean --help?");
});

Deno.test("with --json an error is one JSON document on standard error", async () => {
  const { code, stdout, stderr } = await cli(["--json", "version", "superfluous"]);
  assertEquals(code, 2);
  assertEquals(stdout, "");
  const { error } = JSON.parse(stderr);
  assertEquals(error.code, "usage");
  assertIncludes(error.message, "superfluous");
});

Deno.test("all that is wrong is one error, with the help of that command", async () => {
  const two = await cli(["snapshot", "send"]);
  assertEquals([two.code, two.stderr], [
    2,
    "op-dbus: Missing argument NAME; Missing value or flag --to " +
    "(see op-dbus snapshot send --help)\n",
  ]);
  const { stderr } = await cli(["--json", "sign"]);
  assertEquals(JSON.parse(stderr).error.hint, "see op-dbus sign --help");
  assertIncludes(
    (await cli(["snapshot", "diff"])).stderr,
    "op-dbus: Missing argument NAME (see",
  );
  for (const typed of ["--dryrun", "--dry", "--dry-rum"]) {
    const { stderr } = await cli(["snapshot", "rotate", typed]);
    assertIncludes(stderr, "did you mean --dry-run? see op-dbus snapshot rotate --help");
  }
});

Deno.test("global flags work before and after the command", async () => {
  const before = await cli(["--json", "version"]);
  const after = await cli(["version", "--json"]);
  assertEquals(before.stdout, after.stdout);
  assertEquals(splitLeadingGlobals(["--root", "/r", "-q", "embed", "-q"]), {
    leading: ["--root", "/r", "-q"],
    rest: ["embed", "-q"],
  });
  assertEquals(splitLeadingGlobals(["--root=/r", "x"]).leading, ["--root=/r"]);
});

Deno.test("config show prints each value and where it came from", async () => {
  await using folder = await tempFolder();
  const file = `${folder.path}/config.toml`;
  await Deno.writeTextFile(file, 'root = "/from/file"\n[cache]\ncodec = "f16"\n');
  const { stdout } = await cli(["config", "show", "--json", "--config", file], {
    env: { OPDBUS_CACHE_CODEC: "int8" },
  });
  const settings = JSON.parse(stdout).settings as { name: string; value: unknown }[];
  const of = (name: string) => settings.find((setting) => setting.name === name);
  assertEquals(of("root"), {
    name: "root",
    value: "/from/file",
    source: "file",
    origin: `${file}:1:1`,
  } as unknown);
  assertEquals(of("cache.codec"), {
    name: "cache.codec",
    value: "int8",
    source: "environment",
    origin: "OPDBUS_CACHE_CODEC",
  } as unknown);
  const flag = await cli(["--root", "/from/flag", "config", "show", "--config", file]);
  assertIncludes(flag.stdout, /root +\/from\/flag +--root/);
});

Deno.test("a mistyped variable is told once, and the command goes on", async () => {
  const env = { OPDBUS_CACHE_KODEC: "f16" };
  const { code, stdout, stderr } = await cli(["config", "show"], { env });
  assertEquals([code, stderr], [
    0,
    "warning: OPDBUS_CACHE_KODEC is not read; did you mean OPDBUS_CACHE_CODEC?\n",
  ]);
  assertIncludes(stdout, "cache.codec");
});

Deno.test("any setting can be given for one run with --set", async () => {
  const show = ["config", "show", "--json"];
  const { stdout } = await cli(["--set", "cache.codec=f16", ...show, "--set", "root=/r"]);
  const settings = JSON.parse(stdout).settings as { name: string; value: unknown }[];
  const of = (name: string) => settings.find((setting) => setting.name === name)?.value;
  assertEquals([of("cache.codec"), of("root")], ["f16", "/r"] as unknown[]);
  const mistyped = await cli([...show, "--set", "cache.codex=f16"]);
  assertEquals(mistyped.code, 2);
  assertIncludes(mistyped.stderr, "did you mean --set cache.codec=VALUE?");
  assertEquals((await cli([...show, "--set", "cache.codec=f17"])).code, 2);
});

Deno.test("a configuration that is wrong names file, line and column, exit 2", async () => {
  await using folder = await tempFolder();
  const file = `${folder.path}/config.toml`;
  for (
    const [text, place, what] of [
      ['root = "/x"\nrooot = 1\n', ":2:1", "rooot"],
      ['root = "/x"\n[cache\n', ":2:", "config.toml"],
    ] as const
  ) {
    await Deno.writeTextFile(file, text);
    const { code, stderr } = await cli(["config", "show", "--config", file]);
    assertEquals(code, 2, stderr);
    assertIncludes(stderr, file + place);
    assertIncludes(stderr, what);
    assertEquals(stderr.trimEnd().split("\n").length, 1);
  }
});
