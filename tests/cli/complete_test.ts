import { assertEquals, assertTrue } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { publicOf } from "../plugin/kit.ts";
import { tempFolder } from "../support/scratch.ts";
import { Layout } from "../../lib/base/layout.ts";
import { generateSecretKey } from "../../lib/plugin/minisign/secret_key.ts";
import { Repositories } from "../../lib/plugin/repositories.ts";
import { TrustStore } from "../../lib/plugin/trust_store.ts";

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
  for (const command of ["apply", "diff", "verify", "plugin install", "key trust"]) {
    assertEquals((await tab([...command.split(" "), ""])).extra, "files", command);
  }
  assertEquals(
    (await tab(["repo", "add", "x", "https://x", "--key", ""])).extra,
    "files",
  );
  assertEquals((await tab(["status", "--socket", ""])).extra, "files");
  assertEquals((await tab(["snapshot", "send", "x", "--to", ""])).extra, "folders");
});

Deno.test("completion: help completes topics and commands", async () => {
  assertEquals((await tab(["help", "cr"])).words, ["cron"]);
  assertEquals((await tab(["help", "snap"])).words, ["snapshot"]);
  assertEquals((await tab(["help", "cron", ""])).words, []);
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

Deno.test("completion: models, repositories and what these offer", async () => {
  await using scratch = await tempFolder();
  const root = scratch.path, env = { OPDBUS_ROOT: root };
  const layout = new Layout(root);
  for (const path of [layout.meta, `${layout.models}/tiny`]) {
    await Deno.mkdir(path, { recursive: true });
  }
  const repositories = new Repositories(layout), trust = new TrustStore(layout);
  const key = publicOf(generateSecretKey());
  for (const name of ["example", "other"]) {
    repositories.add(name, `https://${name}.org/`, [key], { trust });
  }
  const plugins = { lxc: [], locale: [] };
  // Its form is what Repositories writes; what stands in it is the repository's to check.
  repositories.accept("example", { repository: "x", counter: 1, plugins } as never, {
    sha256: "",
    signedBy: [],
  });
  assertEquals((await tab(["repo", "remove", ""], env)).words, ["example", "other"]);
  assertEquals((await tab(["plugin", "install", "l"], env)).words, ["locale", "lxc"]);
  assertEquals((await tab(["model", "default", ""], env)).words, ["builtin", "tiny"]);
  assertEquals((await tab(["embed", "--model", "t"], env)).words, ["tiny"]);
  await Deno.mkdir(`${root}/@cache-snapshots/cache@2025-01-15-10:00`, {
    recursive: true,
  });
  for (
    const words of [["snapshot", "send", "x", "--parent"], ["cache", "get", "--snapshot"]]
  ) {
    assertEquals((await tab([...words, ""], env)).words, ["cache@2025-01-15-10:00"]);
  }
});
