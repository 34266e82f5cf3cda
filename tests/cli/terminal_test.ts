import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { onTerminal } from "../support/terminal.ts";

Deno.test("a long embed on a terminal shows a bar; none when piped", async () => {
  await using root = await plainRoot();
  const fifo = `${root.scratch.path}/fifo`;
  await sh("mkfifo", fifo);
  const args = ["--root", root.path, "embed", "--output", "none", "--file", fifo];
  const terminal = onTerminal(args);
  const writer = await Deno.open(fifo, { write: true });
  await writer.write(new TextEncoder().encode("one text\n".repeat(600)));
  await terminal.shows("Embedding"); // the input stays open until the bar is there
  writer.close();
  const { code, screen } = await terminal.ended();
  assertEquals(code, 0);
  assertIncludes(screen, "600 texts");
  const piped = await root.run(["embed", "one text"]);
  assertEquals(piped.stderr.includes("Embedding"), false);
});

Deno.test("a question on a terminal: yes does it, no and Ctrl-C do not", async () => {
  await using root = await plainRoot();
  const entries = async () => (await root.json("cache", "stats")).entries;
  const ask = async (answer: string) => {
    const terminal = onTerminal(["--root", root.path, "cache", "clear", "--embeddings"]);
    await terminal.shows("Remove 2 entries from embeddings? [y/N] ");
    await terminal.type(answer);
    return await terminal.ended();
  };
  await root.json("embed", "one", "two");
  assertEquals((await ask("n\n")).code, 4);
  assertEquals((await ask("\n")).code, 4);
  assertEquals((await ask("\x03")).code, 130);
  assertEquals(await entries(), 2);
  assertEquals((await ask("y\n")).code, 0);
  assertEquals(await entries(), 0);
});

Deno.test("colours on a terminal, none with --no-color", async () => {
  await using root = await plainRoot();
  const coloured = await onTerminal(["--root", root.path, "doctor"]).ended();
  assertTrue(coloured.screen.includes("\x1b[3"), coloured.screen);
  const plain = await onTerminal(["--no-color", "--root", root.path, "doctor"]).ended();
  assertEquals(plain.screen.includes("\x1b["), false);
});

Deno.test("Ctrl-C where a password is asked ends at once, and makes nothing", async () => {
  await using scratch = await tempFolder();
  const terminal = onTerminal(["key", "generate", `${scratch.path}/me`]);
  await terminal.shows("assword");
  await terminal.type("half of it\x03");
  const { code, screen } = await terminal.ended();
  assertEquals(code, 130, screen);
  assertIncludes(screen, "Interrupted by SIGINT");
  assertEquals([...Deno.readDirSync(scratch.path)], []);
});
