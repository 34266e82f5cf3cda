import { assertEquals, assertIncludes } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { Layout } from "../../lib/base/layout.ts";
import { discover } from "../../lib/plugin/discovery.ts";
import { validatePlugin } from "../../lib/plugin/validate.ts";
import { formatProblem } from "../../lib/plugin/problems.ts";
import {
  lackingRequirements,
  namesOnBus,
  thisHost,
} from "../../lib/plugin/requirements.ts";
import { type Mapping, parseMapping } from "../../lib/plugin/mapping.ts";
import { privateBus, PYTHON } from "../support/private_bus.ts";
import { requireManifest } from "../../lib/plugin/manifest.ts";

const manifest = (name: string, more = "") =>
  `name = "${name}"\nversion = "1.0.0"\nauthor = "me"\n${more}`;

Deno.test("broken plugins are listed with their reason and hide no other", async () => {
  await using folder = await tempFolder();
  const root = folder.path;
  const make = async (name: string, text: string | Uint8Array | null) => {
    await Deno.mkdir(`${root}/@plugin-${name}`);
    const file = `${root}/@plugin-${name}/plugin.toml`;
    if (typeof text === "string") await Deno.writeTextFile(file, text);
    else if (text) await Deno.writeFile(file, text);
  };
  await make("good", manifest("good"));
  await make("zebra", manifest("zebra", 'unknown = "x"\n'));
  await make("empty", null);
  await make("syntax", "name = = 1");
  await make("other", manifest("another"));
  await make("bytes", new Uint8Array([0xff, 0xfe]));
  await make("Upper\x1b[31m", manifest("upper"));
  await make("huge", "#".repeat(2 * 1024 * 1024));
  await make("link", null);
  await Deno.symlink("/etc/passwd", `${root}/@plugin-link/plugin.toml`);
  await make("pipe", null);
  await sh("mkfifo", `${root}/@plugin-pipe/plugin.toml`);
  await make("folder", null);
  await Deno.mkdir(`${root}/@plugin-folder/plugin.toml`);
  await Deno.symlink(`${root}/@plugin-good`, `${root}/@plugin-alias`);
  await Deno.writeTextFile(`${root}/@plugin-file`, "");
  await Deno.mkdir(`${root}/@plugin-snapshots`);
  await Deno.mkdir(`${root}/@cache`);

  const found = discover(new Layout(root));
  assertEquals(found.filter((p) => p.manifest).map((p) => p.name), ["good", "zebra"]);
  const reasons = Object.fromEntries(
    found.flatMap((p) => p.manifest ? [] : [[p.name, p.reason]]),
  );
  assertEquals(Object.keys(reasons).sort(), [
    "Upper\\u{1b}[31m",
    "bytes",
    "empty",
    "folder",
    "huge",
    "link",
    "other",
    "pipe",
    "syntax",
  ]);
  assertIncludes(reasons.empty!, "there is no plugin.toml");
  assertIncludes(reasons.syntax!, "plugin.toml:1:8");
  assertIncludes(reasons.other!, "another");
  assertIncludes(reasons.bytes!, "UTF-8");
  assertIncludes(reasons.huge!, "EFBIG");
  assertIncludes(reasons.link!, "ELOOP");
  assertIncludes(reasons.pipe!, "EINVAL");
});

Deno.test("validate reports manifest, mapping, examples and configuration at once", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  await Deno.mkdir(at("examples"));
  await Deno.writeTextFile(
    at("plugin.toml"),
    manifest("lxc", 'config = ["gone.toml"]\nautor = "x"\n'),
  );
  await Deno.writeTextFile(
    at("semantic-mapping.toml"),
    '[methods.create]\nsafe = "no"\nargs = 3\n',
  );
  await Deno.writeTextFile(at("examples/a.json"), '{\n  "x": ]\n}');
  await Deno.writeTextFile(at("examples/c.json"), '{\n  "x": 1\n');
  await Deno.writeTextFile(at("examples/b.json"), '{"plugins":{"net":{}}}');
  const { valid, problems } = validatePlugin(folder.path);
  assertEquals(valid, false);
  const lines = problems.map(formatProblem).join("\n");
  assertIncludes(lines, "plugin.toml:5:1: autor: unknown key (did you mean author?)");
  assertIncludes(lines, "semantic-mapping.toml:2:1: methods.create.safe");
  assertIncludes(lines, "semantic-mapping.toml:3:1: methods.create.args");
  assertIncludes(lines, "gone.toml as configuration");
  assertIncludes(lines, "examples/a.json: is not JSON: Unexpected token ']'");
  assertIncludes(lines, "examples/c.json:3:1: is not JSON");
  assertIncludes(lines, "examples/b.json: says nothing about lxc");
});

Deno.test("what a host lacks is named", async () => {
  await using folder = await tempFolder();
  const root = folder.path;
  const text = manifest(
    "lxc",
    `requires_proxmox = true
requires = { commands = ["sh", "pct-none"], dbus = ["org.a.B", "org.c.D"], kernel = ">=999", op_dbus = ">=99" }
`,
  );
  const wanted = requireManifest(text);
  const askBus = (bus: string) => {
    assertEquals(bus, "system");
    return Promise.resolve(new Set(["org.a.B"]));
  };
  const { missing } = await lackingRequirements(wanted, null, thisHost({ askBus }));
  const release = (await sh("uname", "-r")).trim();
  assertEquals(missing, [
    "Proxmox VE",
    "command pct-none",
    "D-Bus service org.c.D",
    `kernel >=999 (this is ${release})`,
    "op-dbus >=99 (this is 0.1.0)",
  ]);
  await Deno.mkdir(`${root}/etc/pve`, { recursive: true });
  await Deno.mkdir(`${root}/usr/share/dbus-1/system-services`, { recursive: true });
  await Deno.writeTextFile(
    `${root}/usr/share/dbus-1/system-services/org.c.D.service`,
    "",
  );
  await Deno.mkdir(`${root}/usr/bin`, { recursive: true });
  await Deno.writeTextFile(`${root}/usr/bin/pct-none`, "", { mode: 0o755 });
  const there = await lackingRequirements(wanted, null, thisHost({ prefix: root }));
  assertEquals(there.missing.slice(0, 1), ["command sh"]);
  assertEquals(there.unknown, [`D-Bus service org.a.B (no bus runs in ${root})`]);
});

Deno.test("a bus is asked what it has, and only where a plugin needs to know", async () => {
  await using bus = await privateBus();
  const peer = new URL("../dbus/peers/echo.py", import.meta.url).pathname;
  await bus.start("org.test.Echo", PYTHON, peer);
  const asked: string[] = [];
  const askBus = (where: string) => {
    asked.push(where);
    return namesOnBus(where);
  };
  const needs = (names: string[]) =>
    requireManifest(manifest("lxc", `requires = { dbus = ${JSON.stringify(names)} }\n`));
  const service = (name: string, where: string) =>
    parseMapping(`[service]\nname = "${name}"\nbus = "${where}"\n`, "m.toml");
  const look = (names: string[], mapping: Mapping | null) =>
    lackingRequirements(needs(names), mapping, thisHost({ askBus }));

  assertEquals(await look([], null), { missing: [], unknown: [] });
  assertEquals(asked, []);
  const mapping = service("org.test.Echo", bus.address);
  assertEquals(await look(["org.test.Echo"], mapping), { missing: [], unknown: [] });
  assertEquals(await look(["org.test.Gone"], service("org.test.Gone", bus.address)), {
    missing: ["D-Bus service org.test.Gone"],
    unknown: [],
  });
  await bus.kill();
  const { missing, unknown } = await look(["org.test.Echo"], mapping);
  assertEquals(missing, []);
  assertIncludes(
    unknown.join(),
    "org.test.Echo (Cannot connect to the bus at unix:path=",
  );
  assertEquals(asked.length, 3);
});
