/**
 * That the executable hashes on another thread. A worker that cannot start there (its
 * program is text, a permission may lack) would go unnoticed: everything is hashed on the
 * main thread then, and only slower.
 */
import { assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { sh } from "../support/scratch.ts";
import { executable } from "./executable.ts";

const FILES = 4, FILE_BYTES = 5_000_000;

/** The threads that made a call, from the output of `strace -f`. */
function threadsOf(trace: string, call: string): Set<string> {
  const lines = trace.split("\n").filter((line) => line.includes(` ${call}(`));
  return new Set(lines.map((line) => line.slice(0, line.indexOf(" "))));
}

Deno.test("the executable reads received files back on a thread of its own", async () => {
  await using root = await plainRoot();
  const at = root.scratch.path, plugin = `${at}/plugin`;
  await Deno.mkdir(plugin);
  await Deno.writeTextFile(
    `${plugin}/plugin.toml`,
    'name = "large"\nversion = "1.0.0"\nauthor = "a"\ndescription = "d"\n',
  );
  for (let n = 0; n < FILES; n++) {
    const bytes = new Uint8Array(FILE_BYTES);
    for (let from = 0; from < FILE_BYTES; from += 65_536) {
      crypto.getRandomValues(bytes.subarray(from, from + 65_536));
    }
    await Deno.writeFile(`${plugin}/file${n}`, bytes);
  }
  const run = [executable(), "--root", root.path, "plugin"];
  await sh(run[0]!, ...run.slice(1), "pack", plugin, "--output", at);
  const file = `${at}/large-v1.0.0.btrfs.zst`, log = `${at}/trace`;
  const trace = ["-f", "-o", log, "-e", "trace=openat2,sync_file_range"];
  await sh("strace", ...trace, ...run, "install", file, "--allow-unsigned", "--yes");
  const text = await Deno.readTextFile(log);
  const applies = threadsOf(text, "openat2"), hashes = threadsOf(text, "sync_file_range");
  assertTrue(applies.size === 1, `applied on threads ${[...applies]}`);
  assertTrue(hashes.size === 1, `read back on threads ${[...hashes]}`);
  assertTrue(applies.isDisjointFrom(hashes), `both on thread ${[...applies]}`);
});
