import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { btrfsRoot, plainRoot, type TestRoot } from "../support/cli_root.ts";
import { platformTest, sh } from "../support/scratch.ts";
import { serve } from "../plugin/kit.ts";
import { filesOf } from "../plugin/repo_kit.ts";
import { manifestText, writeTree } from "../plugin/live_kit.ts";

const MAPPING = `[service]
name = "org.freedesktop.lxc"
[methods.create_container]
safe = false
args = ["id"]
`;

/** Author, key and repository, made by commands alone. */
async function publish(root: TestRoot, plugins: [string, string, string?][]) {
  const at = `${root.scratch.path}/work`;
  Deno.mkdirSync(`${at}/repo`, { recursive: true });
  const run = async (...args: string[]) => {
    const done = await root.run([...args, "--json"], { cwd: at });
    assertEquals(done.code, 0, `${args.join(" ")}: ${done.stderr}`);
    return JSON.parse(done.stdout);
  };
  const key = await run("key", "generate", "me", "--no-password");
  Deno.writeTextFileSync(`${at}/repo/repository.toml`, 'name = "community"\n');
  for (const [name, version, more] of plugins) {
    const folder = `${at}/src/${name}-${version}`;
    writeTree(folder, {
      "plugin.toml": manifestText(name, version, more),
      "semantic-mapping.toml": MAPPING,
      "state/c.json": "[]",
    });
    Deno.mkdirSync(`${at}/repo/${name}`, { recursive: true });
    const { path } = await run("plugin", "pack", folder, "--output", `repo/${name}`);
    await run("sign", path, "--key", "me.key");
  }
  const index = await run("repo", "index", "repo", "--key", "me.key");
  return { at, key, run, index };
}

async function wholeStory(root: TestRoot): Promise<void> {
  const { at, run, key } = await publish(root, [
    ["net", "1.0.0"],
    ["lxc", "1.0.0", 'dependencies = ["net"]\ndescription = "Containers"\n'],
    ["lxc", "1.2.0", 'dependencies = ["net"]\ndescription = "Containers"\n'],
  ]);
  await using server = serve(filesOf(`${at}/repo`));
  const plain = await root.run([
    "repo",
    "add",
    "hub",
    server.url,
    "--key",
    `${at}/me.pub`,
  ]);
  assertEquals(plain.code, 2);
  assertIncludes(plain.stderr, "--allow-http");
  await run("key", "generate", "stranger", "--no-password");
  const strangers = [server.url, "--key", `${at}/stranger.pub`, "--allow-http"];
  assertEquals((await root.run(["repo", "add", "hub", ...strangers])).code, 3);
  assertEquals((await run("repo", "list")).repositories, []);
  const added = await run(
    "repo",
    "add",
    "hub",
    server.url,
    "--key",
    "me.pub",
    "--allow-http",
  );
  assertEquals([added.counter, added.keys], [1, [key.id]]);
  const { plugins: found } = await run("repo", "search", "container");
  assertEquals(found.map((p: { name: string; latest: string }) => [p.name, p.latest]), [
    ["lxc", "1.2.0"],
  ]);

  const asked = await root.run(["plugin", "install", "lxc@1.0.0"]);
  assertEquals(asked.code, 4);
  assertIncludes(asked.stderr, `lxc@1.0.0: signed by ${key.id}, from repository hub`);
  assertIncludes(asked.stderr, "talks to: org.freedesktop.lxc");
  assertIncludes(asked.stderr, "may change: create_container");
  const dry = await run("plugin", "install", "lxc@1.0.0", "--dry-run");
  assertEquals(dry.changes.length, 2);
  assertEquals((await run("plugin", "list")).plugins, []);

  const installed = await run("plugin", "install", "lxc@1.0.0", "--yes");
  assertEquals(
    installed.changes.map((
      c: Record<string, unknown>,
    ) => [c.action, c.name, c.to, c.signed_by]),
    [["install", "net", "1.0.0", key.id], ["install", "lxc", "1.0.0", key.id]],
  );
  const live = `${root.path}/@plugin-lxc`;
  Deno.writeTextFileSync(`${live}/state/c.json`, "[1]");
  const upgraded = await run("plugin", "upgrade", "--yes");
  assertEquals(upgraded.changes.map((c: { to: string }) => c.to), ["1.2.0"]);
  assertEquals(upgraded.changes[0].kept, ["state/c.json"]);
  const shown = await run("plugin", "show", "lxc");
  assertEquals([shown.active.version, shown.previous, shown.powers.unsafe_methods], [
    "1.2.0",
    "1.0.0",
    ["create_container"],
  ]);
  assertEquals(
    (await run("plugin", "verify")).plugins.map((p: { ok: boolean }) => p.ok),
    [
      true,
      true,
    ],
  );
  Deno.writeTextFileSync(`${live}/semantic-mapping.toml`, "# changed\n");
  assertEquals((await root.run(["plugin", "verify", "lxc"])).code, 3);
  assertEquals((await root.run(["plugin", "rollback", "lxc"])).code, 4);
  const back = await run("plugin", "rollback", "lxc", "--dry-run");
  assertEquals([back.dry_run, back.from, back.to], [true, "1.2.0", "1.0.0"]);
  assertEquals((await run("plugin", "show", "lxc")).active.version, "1.2.0");
  await run("plugin", "rollback", "lxc", "--yes");
  assertEquals((await run("plugin", "show", "lxc")).active.version, "1.0.0");
  assertEquals((await root.run(["plugin", "activate", "lxc@1.2.0"])).code, 4);
  const forth = await run("plugin", "activate", "lxc@1.2.0", "--dry-run");
  assertEquals([forth.dry_run, forth.from], [true, "1.0.0"]);
  assertEquals((await run("plugin", "show", "lxc")).active.version, "1.0.0");
  await run("plugin", "activate", "lxc@1.2.0", "--yes");
  assertEquals((await run("plugin", "show", "lxc")).active.version, "1.2.0");
  const stopped = await root.run(["plugin", "remove", "net", "--yes"]);
  assertEquals(stopped.code, 1);
  assertIncludes(stopped.stderr, "lxc depend on it");
  assertEquals((await root.run(["plugin", "remove", "lxc"])).code, 4);
  await run("plugin", "remove", "lxc", "net", "--purge", "--yes");
  assertEquals((await run("plugin", "list")).plugins, []);
  await run("key", "revoke", key.id, "--reason", "test over");
  const refused = await root.run(["plugin", "install", "lxc", "--yes"]);
  assertEquals(refused.code, 2);
  assertIncludes(refused.stderr, "test over");
  const { blocks } = await chain(root);
  assertTrue(
    ["repo-add", "install", "upgrade", "rollback", "purge", "revoke"].every((action) =>
      blocks.includes(action)
    ),
    blocks.join(),
  );
}

/** The actions that the audit chain noted. */
async function chain(root: TestRoot): Promise<{ blocks: string[] }> {
  const { code, stdout, stderr } = await root.run(["chain", "list", "--json"]);
  assertEquals(code, 0, stderr);
  return { blocks: [...stdout.matchAll(/"action":\s*"([^"]+)"/g)].map((m) => m[1]!) };
}

platformTest("plugin: the whole story by commands, on btrfs", async () => {
  await using root = await btrfsRoot();
  await wholeStory(root);
});

Deno.test("plugin: the whole story by commands, on a plain folder", async () => {
  await using root = await plainRoot();
  await wholeStory(root);
});

Deno.test("plugin: what is no file is not waited for, and said to be none", async () => {
  await using root = await plainRoot();
  const { at } = await publish(root, [["net", "1.0.0"]]);
  await sh("mkfifo", `${at}/pipe`);
  for (
    const [path, what] of [
      [at, "a folder"],
      [`${at}/pipe`, "a device, pipe or socket"],
      ["/dev/zero", "a device, pipe or socket"],
    ]
  ) {
    const done = await root.run(["plugin", "inspect", path!]);
    assertEquals(done.code, 2, done.stderr);
    assertIncludes(done.stderr, `Cannot read ${path}: it is ${what}, not a file`);
  }
});

Deno.test("plugin: validate, inspect, sign, verify-signature and their exit codes", async () => {
  await using root = await plainRoot();
  const { at, key, run } = await publish(root, [["net", "1.0.0"]]);
  const bad = `${at}/bad`;
  writeTree(bad, { "plugin.toml": 'name = "A"\nversion = "1"\n' });
  const invalid = await root.run(["plugin", "validate", bad]);
  assertEquals(invalid.code, 2);
  for (const piece of ["plugin.toml:1:1: author: missing", "1:1: name", "2:1: version"]) {
    assertIncludes(invalid.stdout, piece);
  }
  const file = `${at}/repo/net/net-v1.0.0.btrfs.zst`;
  const found = await run("plugin", "inspect", file);
  assertEquals(found.signature.code, "unknown_key");
  assertEquals(found.entries.map((e: { path: string }) => e.path), [
    "plugin.toml",
    "semantic-mapping.toml",
    "state",
    "state/c.json",
  ]);
  assertEquals((await root.run(["verify-signature", file])).code, 3);
  const right = await run("verify-signature", file, "--key", "me.pub");
  assertEquals(right.key, key.id);
  assertIncludes(right.trusted_comment, "name:net\tversion:1.0.0");
  await sh("minisign", "-Vm", file, "-p", `${at}/me.pub`);
  await run("key", "trust", "me.pub", "--yes", "--comment", "me");
  await run("verify-signature", file);
  assertEquals((await run("plugin", "inspect", file)).signature.valid, true);
  Deno.writeTextFileSync(file, "x", { append: true });
  const changed = await root.run(["verify-signature", file]);
  assertEquals(changed.code, 3);
  assertIncludes(changed.stderr, "the content is not what was signed");
  assertEquals((await root.run(["plugin", "install", file, "--yes"])).code, 3);
  assertEquals((await root.run(["plugin", "install"])).code, 2);
  assertEquals((await root.run(["plugin", "install", "no such"])).code, 2);
  assertEquals((await root.run(["plugin", "rollback", "../x"])).code, 2);
  const encrypted = await root.run(["key", "generate", `${at}/e`], {
    env: { OPDBUS_KEY_PASSWORD: "secret" },
  });
  assertEquals(encrypted.code, 0, encrypted.stderr);
  assertEquals(Deno.statSync(`${at}/e.key`).mode! & 0o777, 0o600);
  const wrong = await root.run(["sign", bad + "/plugin.toml", "--key", `${at}/e.key`], {
    env: { OPDBUS_KEY_PASSWORD: "wrong" },
  });
  assertEquals(wrong.code, 2);
  assertIncludes(wrong.stderr, "Wrong password");
  assertEquals((await root.run(["sign", bad, "--key", `${at}/e.key`])).code, 4);
});

Deno.test("plugin: what is not there is said so, with the right exit code", async () => {
  await using root = await plainRoot();
  const folder = root.scratch.path;
  Deno.mkdirSync(`${folder}/empty`);
  const cases: [string[], string][] = [
    [["install", "./nothing.btrfs.zst"], `There is no package ${folder}/nothing`],
    [["install", "./empty"], `${folder}/empty is not a regular file`],
    [["install", "https://host/%zz"], "its path is escaped wrongly"],
    [["show", "nope"], "nope is not installed"],
    [["snapshot", "nope"], "nope is not installed"],
    [["pack", "empty"], "plugin.toml: is missing (op-dbus plugin validate"],
    [["validate", "empty"], "empty is not valid: 1 error ("],
    [["inspect", "no/x.btrfs.zst"], `Cannot read ${folder}/no/x.btrfs.zst: there is no`],
    [["pack", "empty", "--output", "no"], `Cannot write into ${folder}/no: there is no`],
    [["pack", "empty", "--output", "file"], `Cannot write into ${folder}/file: it is no`],
    [["snapshot", "nope", "--output", "no"], `Cannot write into ${folder}/no: there is`],
  ];
  await Deno.writeTextFile(`${folder}/file`, "");
  const secret = await root.run(["key", "generate", "k", "--no-password"], {
    cwd: folder,
  });
  assertEquals(secret.code, 0, secret.stderr);
  const others: [string[], string][] = [
    [["sign", "no/x", "--key", "k.key"], `Cannot read ${folder}/no/x: there is no`],
    [
      ["sign", "no/x-plugin-v1.0.0.btrfs.zst", "--key", "k.key"],
      `There is no package ${folder}/no/x-plugin`,
    ],
    [["key", "generate", "no/k"], `Cannot write into ${folder}/no: there is no`],
    [["diff", "file", "--output", "no/p"], `Cannot write into ${folder}/no: there is no`],
  ];
  const all = cases.map(([args, text]) => [["plugin", ...args], text] as const);
  for (const [args, expected] of [...all, ...others]) {
    const { code, stderr } = await root.run(args, { cwd: folder });
    assertEquals(code, 2, `${args}: ${stderr}`);
    assertIncludes(stderr.trim().split("\n").at(-1)!, expected);
  }
});
