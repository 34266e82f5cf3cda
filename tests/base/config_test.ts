import {
  assertEquals,
  assertIncludes,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { loadConfig, resolveConfig } from "../../lib/base/config.ts";
import { InputError } from "../../lib/base/errors.ts";
import { tempFolder } from "../support/scratch.ts";

const file = (text: string) => ({ file: { path: "/c.toml", text } });

function refused(text: string): InputError {
  return assertThrows(() => resolveConfig(file(text)), InputError);
}

Deno.test("precedence: flag, environment, file, default; each tells its origin", () => {
  const text = 'root = "/from/file"\n\n[cache]\ncodec = "f32"\narena_size = "1G"\n';
  const env = { OPDBUS_ROOT: "/from/env", OPDBUS_CACHE_CODEC: "int8" };
  const all = resolveConfig({ flags: { root: "/from/flag/" }, env, ...file(text) });
  const seen = (key: "root" | "cache.codec" | "cache.arena_size" | "embed.model") => {
    const { shown, source, origin } = all.entry(key);
    return [shown, source, origin];
  };
  assertEquals(seen("root"), ["/from/flag", "flag", "--root"]);
  assertEquals(seen("cache.codec"), ["int8", "environment", "OPDBUS_CACHE_CODEC"]);
  assertEquals(seen("cache.arena_size"), ["1G", "file", "/c.toml:5:1"]);
  assertEquals(seen("embed.model"), ["builtin", "default", ""]);
  assertEquals(all.get("cache.arena_size"), 2 ** 30);
  assertEquals(resolveConfig(file(text)).get("root"), "/from/file");
  assertEquals(resolveConfig({ env }).get("root"), "/from/env");
});

Deno.test("an empty environment variable counts as unset", () => {
  assertEquals(
    resolveConfig({ env: { OPDBUS_ROOT: "" } }).entry("root").source,
    "default",
  );
});

Deno.test("a variable that is nearly a setting's is told; others are not ours", () => {
  const env = { OPDBUS_CACHE_KODEC: "f16", OPDBUS_TEST_EXE: "/x", OPDBUS_CONFIG: "/c" };
  assertEquals(resolveConfig({ env }).warnings, [
    "OPDBUS_CACHE_KODEC is not read; did you mean OPDBUS_CACHE_CODEC?",
  ]);
  assertEquals(resolveConfig({ env: { OPDBUS_CACHE_CODEC: "f16" } }).warnings, []);
});

Deno.test("unknown keys: file, line, column and the nearest key", () => {
  const typo = refused("# a comment\n[cache]\n  kodec = 1\n");
  assertEquals(typo.message, "Unknown key cache.kodec (/c.toml:3:3)");
  assertEquals(typo.hint, "did you mean cache.codec?");
  assertEquals(typo.exitCode, 2);
  assertEquals(refused("x = 1").message, "Unknown key x (/c.toml:1:1)");
  const table = refused("[snapshot.targets.home]\npath='/home'\npolcy='x'");
  assertEquals(table.message, "Unknown key snapshot.targets.home.polcy (/c.toml:3:1)");
  assertEquals(table.hint, "did you mean snapshot.targets.home.policy?");
  assertIncludes(refused("cache.codec.x = 1").message, "cache.codec (/c.toml:1:");
  assertIncludes(refused("[__proto__]\na = 1").message, "Unknown key __proto__");
  assertIncludes(refused("[constructor]\na = 1").message, "Unknown key constructor");
});

Deno.test("TOML with a syntax error: file, line, column", () => {
  assertIncludes(
    refused('[cache]\ncodec = "f32\n').message,
    /^Cannot parse \/c\.toml:2:\d+: /,
  );
  assertIncludes(refused("root = \n").message, /^Cannot parse \/c\.toml:1:\d+: /);
  assertIncludes(refused('root = "/a"\nroot = "/b"').message, "/c.toml:2:");
});

Deno.test("bad values: the key, the place, what is wanted", () => {
  const codec = refused('[cache]\ncodec = "f33"');
  assertIncludes(codec.message, 'Invalid cache.codec (/c.toml:2:1): "f33" is not one of');
  assertIncludes(codec.hint!, "give one of f32");
  assertIncludes(refused("cache.arena_size = -1").message, "found number -1");
  assertIncludes(refused('cache.arena_size = "1X"').message, "not a size");
  assertIncludes(refused('root = "relative"').message, "not an absolute path");
  assertIncludes(refused("root = 5").message, "found number 5");
  assertIncludes(refused("embed.batch_size = 0").message, "from 1 to 4096");
  assertIncludes(refused("embed.batch_size = 1.5").message, "1.5 is not a whole number");
  assertIncludes(refused("cache = 3").message, "Invalid cache (/c.toml:1:1)");
  assertIncludes(refused("root = 1979-05-27").message, "found a date");
  const flags = assertThrows(
    () => resolveConfig({ flags: { "cache.arena_size": "lots" } }),
    InputError,
  );
  assertIncludes(flags.message, "Invalid cache.arena_size (--set cache.arena_size)");
});

Deno.test("tables whose entries the user names", () => {
  const config = resolveConfig(file(`
[snapshot.targets.home]
path = "/home"
policy = "long"
[snapshot.targets."a.b"]
path = "/srv/a"
[snapshot.policies.long]
keep_last = 24
keep_within_daily = "7d"
`));
  const targets = config.table("snapshot.targets");
  assertEquals([...targets.keys()], ["home", "a.b"]);
  assertEquals(targets.get("home"), {
    path: "/home",
    folder: "",
    policy: "long",
    allow_nested: false,
  });
  const policy = config.table("snapshot.policies").get("long");
  assertTrue(policy);
  assertEquals(policy.keep_last, 24);
  assertEquals(policy.keep_within_daily, 7 * 86_400_000);
  assertEquals(policy.keep_min, 1);
  const shown = config.entries().find(({ name }) =>
    name === "snapshot.policies.long.keep_within_daily"
  );
  assertEquals([shown?.shown, shown?.origin], ["7d", "/c.toml:9:1"]);
});

Deno.test("a key inside a multi-line list is found where it starts", () => {
  const { origin } = resolveConfig(
    file('[snapshot]\ndefault_targets = [\n  "cache",\n  "state",\n]\n'),
  ).entry("snapshot.default_targets");
  assertEquals(origin, "/c.toml:2:1");
});

Deno.test("the file: default may be missing, a named one may not, a folder is no file", async () => {
  await using scratch = await tempFolder();
  assertEquals(resolveConfig({}).file, null);
  const missing = assertThrows(
    () => loadConfig({ path: `${scratch.path}/none.toml` }),
    InputError,
  );
  assertIncludes(missing.message, "ENOENT");
  assertEquals(missing.exitCode, 2);
  assertThrows(() => loadConfig({ path: scratch.path }), InputError, /EISDIR/);
  const path = `${scratch.path}/c.toml`;
  await Deno.writeTextFile(path, 'root = "/x"\n');
  const config = loadConfig({ env: { OPDBUS_CONFIG: path } });
  assertEquals(config.entry("root").origin, `${path}:1:1`);
  await Deno.writeFile(path, new Uint8Array(1024 * 1024 + 1).fill(10));
  assertThrows(() => loadConfig({ path }), InputError, /EFBIG/);
});
