import { Layout } from "../../lib/base/layout.ts";
import { Ledger } from "../../lib/chain/ledger.ts";
import { ChainRecorder } from "../../lib/chain/recorder.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";

async function recordedRoot() {
  const root = await plainRoot();
  using recorder = new ChainRecorder(new Layout(root.path), { who: "alice" });
  const record = (category: string, action: string, subject: string, data = {}) =>
    recorder.record({ category, action, subject, data });
  await record("plugin", "install", "lxc@1.2.0");
  await record("state", "apply", "firewalld", { opened: "port 80", protocol: "tcp" });
  await record("plugin", "remove", "netmaker");
  return root;
}

Deno.test("chain list, show and search find what was recorded", async () => {
  await using root = await recordedRoot();
  const { size, blocks } = await root.json("chain", "list");
  assertEquals([size, blocks.length, blocks[2].what], [4, 4, "firewalld"]);
  const plugins = await root.json("chain", "list", "--category", "plugin", "-n", "1");
  assertEquals(plugins.blocks.map((block: { what: string }) => block.what), ["netmaker"]);
  const latest = await root.json("chain", "show", "latest");
  assertEquals([latest.number, latest.who], [3, "alice"]);
  for (const which of ["3", latest.hash, latest.hash.slice(0, 10)]) {
    assertEquals(await root.json("blockchain", "show", which), latest);
  }
  const words = await root.json("chain", "search", "port 80");
  assertEquals(words.matches[0].what, "firewalld");
  const meant = await root.json("chain", "search", "who opened port 80", "--semantic");
  assertEquals(meant.matches[0].what, "firewalld");
  const text = await root.run(["chain", "list"]);
  assertIncludes(text.stdout, /CATEGORY +ACTION/);
});

Deno.test("the beginning of a hash is no number when its digits are all decimal", async () => {
  await using root = await recordedRoot();
  using ledger = new Ledger(new Layout(root.path));
  const record = { category: "a", action: "b", who: "c", what: "d", data: {} };
  let hash = "";
  while (!/^[1-9]\d{5}/.test(hash)) ({ hash } = await ledger.append(record));
  const found = await root.json("chain", "show", hash.slice(0, 6));
  assertEquals(found.hash, hash);
  const none = await root.run(["chain", "show", "99999"]);
  assertIncludes(none.stderr, "No block 99999");
});

Deno.test("chain verify exits 3 on damage, and a checkpoint shows a rewritten chain", async () => {
  await using root = await recordedRoot();
  assertEquals((await root.json("chain", "verify", "--full")).ok, true);
  const note = (await root.run(["chain", "checkpoint"])).stdout;
  await Deno.writeTextFile(`${root.path}/../witness`, note);
  const against = ["chain", "verify", "--against", `${root.path}/../witness`];
  assertEquals((await root.run(against)).code, 0);
  const path = `${root.path}/@timing/blocks/2.json`;
  const before = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, before.replace("port 80", "port 81"));
  const damaged = await root.run(["chain", "verify"]);
  assertEquals(damaged.code, 3);
  assertIncludes(damaged.stdout, "block 2: its data does not match its hash");
  await Deno.writeTextFile(path, before);
  await Deno.remove(`${root.path}/@timing/blocks/3.json`);
  const cut = await root.run(against);
  assertEquals(cut.code, 3);
  assertIncludes(cut.stdout, "block 3: it is gone");
});

Deno.test("no control character of a block reaches a terminal", async () => {
  await using root = await plainRoot();
  using recorder = new ChainRecorder(new Layout(root.path), { who: "a\x9bb\rc" });
  const data = { text: "d\x9be\x7ff\x1b]g" };
  await recorder.record({ category: "a", action: "b", subject: "x\ry", data });
  for (const command of ["show latest", "list", "search b"]) {
    const { code, stdout } = await root.run(["chain", ...command.split(" ")]);
    assertEquals([code, /(?!\n)\p{Cc}/u.test(stdout)], [0, false], command);
  }
  const { stdout } = await root.run(["chain", "show", "latest"]);
  assertIncludes(stdout, "a\\x9bb\\x0dc");
});

Deno.test("chain export streams lines, prove and compact keep their word", async () => {
  await using root = await recordedRoot();
  const all = await root.run(["chain", "export"]);
  assertEquals(all.stdout.trimEnd().split("\n").length, 4);
  const some = await root.run(["chain", "export", "--range", "1..2"]);
  const lines = some.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines.map(({ block }) => block.number), [1, 2]);
  assertEquals((await root.run(["chain", "export", "--since", "2099-01-01"])).stdout, "");
  const proof = await root.json("chain", "prove", "2");
  assertTrue(proof.size === 4 && proof.path.length === 2);
  const refused = await root.run(["chain", "compact", "--keep", "1"]);
  assertEquals(refused.code, 4);
  const plan = await root.json("chain", "compact", "--keep", "1", "--dry-run");
  assertEquals([plan.blocks, plan.last], [3, 2]);
  await root.json("chain", "compact", "--keep", "1", "--yes");
  assertEquals((await root.json("chain", "show", "2")).data, null);
  assertEquals((await root.json("chain", "verify", "--full")).compacted, 3);
});

Deno.test("chain commands answer bad input in one line", async () => {
  await using root = await recordedRoot();
  const cases: [string[], number, string][] = [
    [["chain", "show", "99"], 1, "No block 99: the chain ends with block 3"],
    [["chain", "show", "xyz"], 2, "not a block"],
    [["chain", "show", "a".repeat(64)], 1, "No block has the hash"],
    [["chain", "list", "--since", "yesterday"], 2, "yesterday"],
    [["chain", "list", "--range", "9..a"], 2, "Cannot read the range"],
    [["chain", "export", "--range", "3..1"], 2, "write it as 1..3"],
    [["chain", "verify", "--folder", "/nonexistent"], 2, "it holds no blocks/"],
    [["chain", "verify", "--folder", "/", "--full"], 2, "without --full"],
    [["chain", "search", " "], 2, "empty text"],
    [["chain", "verify", "--against", "/dev/null"], 2, "Cannot trust the checkpoint"],
    [["chain", "prove"], 2, "give a block number"],
  ];
  for (const [args, code, message] of cases) {
    const result = await root.run(args);
    assertEquals([result.code, result.stdout], [code, ""], args.join(" "));
    assertIncludes(result.stderr, message);
    assertEquals(result.stderr.trimEnd().split("\n").length, 1, result.stderr);
  }
});

Deno.test("an empty chain is listed, verified and searched without complaint", async () => {
  await using root = await plainRoot();
  assertEquals((await root.json("chain", "list")).size, 0);
  assertEquals((await root.json("chain", "verify", "--full")).blocks, 0);
  assertEquals((await root.json("chain", "search", "x", "--semantic")).matches, []);
  const latest = await root.run(["chain", "show", "latest"]);
  assertEquals(latest.code, 1);
  assertIncludes(latest.stderr, "No block 0: the chain is empty");
});
