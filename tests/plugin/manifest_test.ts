import { assertEquals, assertTrue } from "../support/assert.ts";
import { formatManifest, parseManifest } from "../../lib/plugin/manifest.ts";
import { formatProblem } from "../../lib/plugin/problems.ts";
import { TomlPositions } from "../../lib/base/toml_positions.ts";

const SEED = `[plugin]
name = "lxc"
version = "1.2.0"
author = "repr0bated"
requires_proxmox = true
dependencies = ["net"]

[capabilities]
query = true
apply = true
rollback = true
checkpoint = true
`;

Deno.test("the seed's manifest is valid, with and without the [plugin] table", () => {
  const { value, problems } = parseManifest(SEED);
  assertEquals(problems, []);
  assertEquals(value, {
    name: "lxc",
    version: "1.2.0",
    author: "repr0bated",
    requires_proxmox: true,
    requires: {},
    dependencies: ["net"],
    config: [],
    capabilities: { query: true, apply: true, rollback: true, checkpoint: true },
  });
  const flat = parseManifest(SEED.replace("[plugin]\n", ""));
  assertEquals(flat, { value, problems: [] });
});

Deno.test("every problem is told at once, each with its line and column", () => {
  const { value, problems } = parseManifest(
    `# a comment
[plugin]
name = "LXC"
version = "1.2"
autor = "me"
  requires_proxmox = "yes"
dependencies = [
  "net",
  "net@^1",
  "bad name",
]
requires = { kernel = ">=banana", comands = ["a"] }
[capabilities]
query = 1
`,
    "p/plugin.toml",
  );
  assertEquals(value, null);
  assertEquals(problems.map(formatProblem).sort(), [
    'p/plugin.toml:10:3: plugin.dependencies[2]: must be a plugin\'s name, with a range where one is wanted: "net", "net@^1.2"',
    'p/plugin.toml:12:14: plugin.requires.kernel: must be a range of versions, like ">=5.10"',
    "p/plugin.toml:12:35: plugin.requires.comands: unknown key (did you mean commands?)",
    "p/plugin.toml:14:1: capabilities.query: must be boolean, not 1",
    "p/plugin.toml:2:1: plugin.author: missing",
    "p/plugin.toml:3:1: plugin.name: must be lower-case letters, digits and hyphens, starting with a letter or digit, at most 64",
    'p/plugin.toml:4:1: plugin.version: must be a semantic version without build metadata, like "1.2.0"',
    "p/plugin.toml:5:1: plugin.autor: unknown key (did you mean author?)",
    'p/plugin.toml:6:3: plugin.requires_proxmox: must be boolean, not "yes"',
  ]);
});

Deno.test("a syntax error has its line and column", () => {
  const { value, problems } = parseManifest('name = "a"\nversion = = 1\n');
  assertEquals(value, null);
  assertEquals(problems.length, 1);
  assertEquals([problems[0]!.line, problems[0]!.column], [2, 11]);
});

Deno.test("unknown keys warn and do not fail", () => {
  const { value, problems } = parseManifest(SEED + "[future]\nx = 1\n");
  assertTrue(value);
  assertEquals(problems.map((p) => [p.severity, p.key, p.line]), [[
    "warning",
    "future",
    13,
  ]]);
});

Deno.test("a plugin that depends on itself or twice on another is refused", () => {
  const text = SEED.replace('["net"]', '["lxc", "net", "net@1"]');
  const { value, problems } = parseManifest(text);
  assertEquals(value, null);
  assertEquals(problems.map((p) => p.message), [
    "a plugin cannot depend on itself",
    "net stands here twice",
  ]);
});

Deno.test("control characters and bidirectional overrides are refused in metadata", () => {
  for (const bad of ["\\u001b[31mred", "\\u202Eevil", "two\\nlines", "\\u009b31m"]) {
    const { value } = parseManifest(SEED.replace("repr0bated", bad));
    assertEquals(value, null, bad);
  }
});

Deno.test("a reserved name, a path that leaves the plugin, build metadata: refused", () => {
  for (
    const [from, to] of [
      ['"lxc"', '"snapshots"'],
      ['"lxc"', '"a.b"'],
      ['"lxc"', '"-a"'],
      ['"1.2.0"', '"1.2.0+b1"'],
      ['"1.2.0"', '"v1.2.0"'],
      ['"repr0bated"', '"x"\nconfig = ["../etc/shadow"]'],
      ['"repr0bated"', '"x"\nconfig = ["/etc/shadow"]'],
      ['"repr0bated"', '"x"\nconfig = ["a//b"]'],
    ] as const
  ) assertEquals(parseManifest(SEED.replace(from, to)).value, null, to);
});

Deno.test("a manifest that is written reads back the same", () => {
  const manifest = {
    name: "net",
    version: "2.0.0-rc.1",
    author: 'O\'Neil "x" \\ Ünïcode',
    description: "two\nlines",
    requires_proxmox: false,
    requires: { commands: ["ip"], kernel: ">=5.10" },
    dependencies: ["a@^1", "b"],
    config: ["conf.d/"],
    capabilities: { query: true, apply: false, rollback: true, checkpoint: true },
  };
  const { value, problems } = parseManifest(formatManifest(manifest));
  assertEquals(problems, []);
  assertEquals(value, manifest);
});

Deno.test("positions hold in odd but valid TOML", () => {
  const text = [
    'a."b.c".d = 1', //                               1
    'arr = [ # comment with ] and "', //              2
    '  """multi', //                                  3
    ' ] line""", \'lit]\', [1, {x = 2, y = "}"}],', // 4
    "]", //                                           5
    "[[t.u]]", //                                     6
    "k = 1", //                                       7
    "[[t.u]]", //                                     8
    "  k = '#'", //                                   9
    "[t.u.sub]", //                                   10
    'z = """"quoted""""', //                          11
    "last = 1979-05-27T07:32:00Z", //                 12
  ].join("\n");
  const at = (...path: (string | number)[]) => {
    const { line, column } = new TomlPositions(text).find(path);
    return `${line}:${column}`;
  };
  assertEquals(at("a", "b.c", "d"), "1:1");
  assertEquals(at("arr"), "2:1");
  assertEquals(at("arr", 0), "3:3");
  assertEquals(at("arr", 1), "4:13");
  assertEquals(at("arr", 2, 1, "y"), "4:33");
  assertEquals(at("t", "u", 0, "k"), "7:1");
  assertEquals(at("t", "u", 1, "k"), "9:3");
  assertEquals(at("t", "u", 1, "sub", "z"), "11:1");
  assertEquals(at("t", "u", 1, "sub", "last"), "12:1");
  assertEquals(at("t", "u", 1, "sub", "missing"), "10:1");
});
