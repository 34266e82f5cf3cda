/** The bad input of the first issue, given to the executable itself. */
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import {
  cli,
  cliCommand,
  cliEnvironment,
  type CliResult,
  spawnCli,
} from "../support/cli.ts";
import { btrfsRoot, plainRoot, type TestRoot } from "../support/cli_root.ts";
import { platformTest, sh } from "../support/scratch.ts";

/** One line on standard error, no stack, nothing on standard output. */
function assertOneLine({ code, stdout, stderr }: CliResult, exit: number, piece: string) {
  assertEquals(code, exit, stderr);
  assertEquals(stdout, "");
  assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  assertIncludes(stderr, piece);
}

function looseFiles(root: TestRoot): string[] {
  const folder = `${root.path}/@cache/embeddings/vectors`;
  const found: string[] = [];
  const visit = (path: string) => {
    for (const entry of Deno.readDirSync(path)) {
      if (entry.isDirectory) visit(`${path}/${entry.name}`);
      else if (/^[0-9a-f]{64}\.bin$/.test(entry.name)) {
        found.push(`${path}/${entry.name}`);
      }
    }
  };
  visit(folder);
  return found.sort();
}

const lines = (count: number, prefix = "text number") =>
  Array.from({ length: count }, (_, i) => `${prefix} ${i}`).join("\n") + "\n";

Deno.test("a cache that nobody has used yet is empty, not an error", async () => {
  await using root = await plainRoot();
  assertEquals((await root.json("cache", "stats")).entries, 0);
  assertEquals((await root.json("cache", "search", "x")).matches, []);
  assertEquals((await root.json("cache", "verify")).sound, true);
  assertOneLine(await root.run(["cache", "get", "x"]), 1, "Not in the cache");
});

Deno.test("embed: an empty text is refused", async () => {
  await using root = await plainRoot();
  assertOneLine(await root.run(["embed", ""]), 2, "empty");
});

Deno.test("embed: no text at all gives a warning and an empty result", async () => {
  await using root = await plainRoot();
  const { code, stdout, stderr } = await root.run(["embed", "--file", "-"], {
    stdin: "\n",
  });
  assertEquals(code, 0);
  assertEquals(JSON.parse(stdout).embeddings, []);
  assertIncludes(stderr, "no texts");
});

Deno.test("embed: a text of 5 MB, and one with a NUL inside", async () => {
  await using root = await plainRoot();
  const stdin = "word ".repeat(1_000_000) + "\nzero\0inside\n";
  for (const hits of [0, 2]) {
    const { code, stdout, stderr } = await root.run(["embed"], { stdin });
    assertEquals(code, 0, stderr);
    const result = JSON.parse(stdout);
    assertEquals(result.embeddings[1].text, "zero\0inside");
    assertEquals(result.embeddings[1].vector.length, 384);
    assertEquals(result.stats.hits, hits);
  }
});

Deno.test("embed: invalid UTF-8 on standard input names the line", async () => {
  await using root = await plainRoot();
  const stdin = new Uint8Array([0x6f, 0x6b, 0x0a, 0xc3, 0x28, 0x0a]);
  assertOneLine(await root.run(["embed"], { stdin }), 2, "standard input, line 2");
});

Deno.test("embed: a file that is a folder", async () => {
  await using root = await plainRoot();
  assertOneLine(await root.run(["embed", "--file", root.path]), 2, root.path);
});

Deno.test("embed: a closed pipe ends quietly", async () => {
  await using root = await plainRoot();
  await Deno.writeTextFile(`${root.scratch.path}/in`, lines(2000));
  const line = cliCommand().map((word) => `'${word}'`).join(" ");
  const command = `${line} -q --root '${root.path}' embed --output jsonl ` +
    `--file '${root.scratch.path}/in' | head -1`;
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", command],
    env: cliEnvironment(),
    clearEnv: true,
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(code, 0);
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)).line, 1);
  assertEquals((await root.run(["cache", "verify"])).code, 0);
});

Deno.test("a root that is not there is one line with the way out", async () => {
  await using root = await plainRoot();
  const result = await cli(["--root", `${root.path}-missing`, "cache", "stats"]);
  assertOneLine(result, 1, "op-dbus init");
});

platformTest("a read-only root: one line, exit 1", async () => {
  await using root = await btrfsRoot();
  await root.json("embed", "written before");
  await sh("mount", "-o", "remount,ro", root.scratch.path);
  const { code, stderr } = await root.run(["embed", "new text"]);
  assertEquals(code, 1);
  assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  assertIncludes(stderr, /read-only|read only|EROFS/i);
});

platformTest("no permission: one line, exit 1", async () => {
  await using root = await plainRoot();
  await root.json("embed", "written as root");
  // Somebody else's root, and a process that is not above permissions. (It stays uid 0,
  // because the source runs from root's own caches.)
  await sh("chown", "-R", "65534:65534", root.path);
  await sh("chmod", "-R", "go-rwx", root.path);
  const { code, stderr } = await new Deno.Command("setpriv", {
    args: ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
      .concat(cliCommand(), ["--root", root.path, "embed", "not mine"]),
    env: cliEnvironment(),
    clearEnv: true,
  }).output();
  const text = new TextDecoder().decode(stderr);
  assertEquals(code, 1, text);
  assertIncludes(text, /op-dbus: .*(EACCES|ermission)/);
});

platformTest(
  "disk full in the middle of a batch: nothing is lost or half-done",
  async () => {
    await using root = await btrfsRoot(64, ["--mixed"]);
    await root.json("embed", "acknowledged before");
    const before = await root.json("embed", "acknowledged before");
    const filler = `${root.scratch.path}/filler`;
    await new Deno.Command("dd", {
      args: ["if=/dev/zero", `of=${filler}`, "bs=64k"],
      stderr: "null",
    }).output();
    const { code, stderr } = await root.run(["embed", "--output", "none"], {
      stdin: lines(30_000, "disk full"),
      env: { OPDBUS_CACHE_CODEC: "f32" },
    });
    assertEquals(code, 1, stderr);
    assertIncludes(stderr, /ENOSPC|space|full/i);
    await Deno.remove(filler);
    await sh("sync", "-f", root.path);
    assertEquals((await root.run(["cache", "verify"])).code, 0);
    const after = await root.json("embed", "acknowledged before");
    assertEquals(after.stats.hits, 1);
    assertEquals(after.embeddings, before.embeddings);
  },
);

Deno.test("an index.db that is garbage, and one of a newer version", async () => {
  await using root = await plainRoot();
  await root.json("embed", "kept");
  const index = `${root.path}/@cache/embeddings/index.db`;
  const good = await Deno.readFile(index);
  await sh("sqlite3", index, "PRAGMA user_version = 999999");
  assertIncludes((await root.run(["embed", "kept"])).stderr, /newer/);
  await Deno.writeFile(index, crypto.getRandomValues(new Uint8Array(8192)));
  const garbage = await root.run(["embed", "kept"]);
  assertEquals(garbage.code, 1);
  assertIncludes(garbage.stderr, index);
  await Deno.writeFile(index, good);
  assertEquals((await root.json("embed", "kept")).stats.hits, 1);
});

Deno.test("a truncated, a damaged and a missing .bin heal as misses", async () => {
  await using root = await plainRoot();
  const texts = ["first", "second", "third", "fourth"];
  const before = await root.json("embed", ...texts);
  const files = looseFiles(root);
  assertEquals(files.length, 4);
  await Deno.truncate(files[0]!, 40);
  const bytes = await Deno.readFile(files[1]!);
  bytes[bytes.length - 3]! ^= 0x10;
  await Deno.writeFile(files[1]!, bytes);
  await Deno.remove(files[2]!);
  assertEquals((await root.run(["cache", "verify"])).code, 3);
  const after = await root.json("embed", ...texts);
  assertEquals(after.embeddings, before.embeddings);
  assertEquals([after.stats.hits, after.stats.misses, after.stats.healed], [1, 3, 3]);
  assertEquals((await root.run(["cache", "verify"])).code, 0);
});

Deno.test("verify names a pack whose table is damaged, mends it, and says no more than that", async () => {
  await using root = await plainRoot();
  const texts = Array.from({ length: 20 }, (_, i) => `packed ${i}`);
  await root.json("embed", ...texts);
  await root.run(["cache", "compact"]);
  const path = `${root.path}/@cache/embeddings/vectors/pack-1.idx`;
  const bytes = await Deno.readFile(path);
  bytes[64 + 12]! ^= 0x10; // in the middle of the first key
  await Deno.writeFile(path, bytes);
  const found = await root.run(["cache", "verify"]);
  assertEquals(found.code, 3);
  assertIncludes(found.stdout, "packs damaged, or their tables: 1\n  pack-1");
  const mended = await root.run(["cache", "verify", "--repair"]);
  assertEquals(mended.code, 0);
  assertEquals(
    mended.stdout,
    "20 vectors checked\npacks mended, or set aside: 1\n  pack-1\n",
  );
  assertEquals((await root.json("embed", ...texts)).stats.hits, 20);
});

Deno.test("two processes writing the same thousand texts agree", async () => {
  await using root = await plainRoot();
  const stdin = lines(1000, "shared by two");
  const [a, b] = await Promise.all([
    root.run(["embed"], { stdin }),
    root.run(["embed"], { stdin }),
  ]);
  assertEquals([a.code, b.code], [0, 0], a.stderr + b.stderr);
  assertEquals(JSON.parse(a.stdout).embeddings, JSON.parse(b.stdout).embeddings);
  assertEquals(looseFiles(root).length, 1000);
  assertEquals((await root.run(["cache", "verify"])).code, 0);
});

Deno.test("kill -9 in the middle of a batch: verify finds nothing that is not healed", async () => {
  await using root = await plainRoot();
  for (let round = 0; round < 5; round++) {
    const child = spawnCli(["--root", root.path, "embed", "--output", "jsonl"]);
    const writer = child.stdin.getWriter();
    const feed = writer.write(new TextEncoder().encode(lines(4000, `round ${round}`)))
      .catch(() => {}); // the reader is killed
    const reader = child.stdout.getReader();
    await reader.read(); // at least one batch is acknowledged
    child.kill("SIGKILL");
    await feed;
    await writer.abort().catch(() => {});
    await reader.cancel();
    await child.stderr.cancel();
    assertEquals((await child.status).signal, "SIGKILL");
    const verify = await root.run(["cache", "verify", "--repair"]);
    assertTrue([0, 3].includes(verify.code), verify.stderr);
    assertEquals((await root.run(["cache", "verify"])).code, 0);
  }
});

Deno.test("Ctrl-C: exit 130, nothing half-written", async () => {
  await using root = await plainRoot();
  const child = spawnCli(["--root", root.path, "embed", "--output", "jsonl"]);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines(600, "before the interrupt")));
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGINT"); // standard input stays open: it must not wait for more
  const drain = (async () => {
    while (!(await reader.read()).done);
  })();
  const [{ code }, stderr] = await Promise.all([
    child.status,
    new Response(child.stderr).text(),
    drain,
  ]);
  await writer.abort().catch(() => {}); // its reader is gone
  assertEquals(code, 130, stderr);
  assertIncludes(stderr, "Interrupted by SIGINT");
  assertEquals((await root.run(["cache", "verify"])).code, 0);
});
