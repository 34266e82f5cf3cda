import { assertEquals, assertTrue } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { tempFolder } from "../support/scratch.ts";

async function tab(words: string[], env: Record<string, string> = {}) {
  const { stdout, stderr, code } = await cli(["__complete", ...words], { env });
  assertEquals([code, stderr], [0, ""]);
  const [extra, ...lines] = stdout.trimEnd().split("\n");
  return { extra, words: lines.map((line) => line.split("\t")[0]!) };
}

Deno.test("completion: commands, verbs, flags and the values of flags", async () => {
  assertTrue((await tab([""])).words.includes("embed"));
  assertEquals((await tab(["emb"])).words, ["embed"]);
  assertEquals((await tab(["cache", "sta"])).words, ["stats"]);
  assertEquals((await tab(["embed", "--outp"])).words, ["--output"]);
  assertEquals((await tab(["embed", "--output", "n"])).words, ["npy", "none"]);
  assertEquals((await tab(["embed", "--output=n"])).words, [
    "--output=npy",
    "--output=none",
  ]);
  assertEquals((await tab(["completions", "z"])).words, ["zsh"]);
  assertEquals((await tab(["-"])).words.includes("--root"), true);
});

Deno.test("completion: global flags before the command, -- after it, nonsense", async () => {
  assertEquals((await tab(["--root", "/x", "--json", "emb"])).words, ["embed"]);
  assertEquals((await tab(["--root=/x", "emb"])).words, ["embed"]);
  assertEquals((await tab(["embed", "--", "--outp"])).words, []);
  assertEquals(await tab(["nonsense", ""]), { extra: "none", words: [] });
  assertEquals((await tab([])).words.includes("embed"), true);
});

Deno.test("completion: files and folders are left to the shell", async () => {
  assertEquals((await tab(["embed", "--file", ""])).extra, "files");
  assertEquals((await tab(["--root", ""])).extra, "folders");
  assertEquals((await tab(["embed", "some text", ""])).extra, "none");
});

Deno.test("completion: names on this host; hostile and missing ones do no harm", async () => {
  await using scratch = await tempFolder();
  const root = scratch.path, env = { OPDBUS_ROOT: root };
  assertEquals((await tab(["snapshot", "delete", ""], env)).words, []);
  for (
    const path of [
      "@cache-snapshots/cache@2025-01-15-10:00",
      "@cache-snapshots/cache@2025-01-15-11:00",
      "@cache-snapshots/.unfinished",
      "@cache-snapshots/cache@\n\tevil",
      "@plugin-lxc",
      "@plugin-snapshots/lxc@v1.2.0",
    ]
  ) await Deno.mkdir(`${root}/${path}`, { recursive: true });
  assertEquals((await tab(["snapshot", "delete", "cache@2025-01-15-1"], env)).words, [
    "cache@2025-01-15-10:00",
    "cache@2025-01-15-11:00",
  ]);
  assertEquals((await tab(["snapshot", "list", "--target", "plugin-"], env)).words, [
    "plugin-lxc",
  ]);
  assertEquals(
    (await tab(["--root", root, "snapshot", "delete", "cache@2025-01-15-10"])).words,
    ["cache@2025-01-15-10:00"],
  );
  await Deno.writeTextFile(`${root}/config.toml`, "= nonsense");
  const wrong = { ...env, OPDBUS_CONFIG: `${root}/config.toml` };
  assertEquals((await tab(["snapshot", "delete", ""], wrong)).words, []);
});
