/**
 * kill -9 at every changing system call of upgrade, rollback, remove and purge: afterwards
 * everything is old or new, and after the next command's recovery it is wholly so.
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, tempFolder } from "../support/scratch.ts";
import { existsSync } from "node:fs";
import { discover } from "../../lib/plugin/discovery.ts";
import { livePlugins, unmetDependencies } from "../../lib/plugin/installed.ts";
import { recover } from "../../lib/plugin/transaction.ts";
import { activate, addVersion, readTree, testPlace } from "../plugin/live_kit.ts";

const CHILD = new URL("./plugin_child.ts", import.meta.url).pathname;
/** Every call by default; OPDBUS_CRASH_STRIDE=3 takes each third. */
const STRIDE = Number(Deno.env.get("OPDBUS_CRASH_STRIDE") ?? 1);

/** A root with lxc and net at 1.0.0 live, edited, 2.0.0 of both waiting. */
async function prepare(root: string): Promise<void> {
  Deno.mkdirSync(root);
  const place = testPlace(root);
  for (const version of ["0.9.0", "1.0.0", "2.0.0"]) {
    addVersion(place, "net", version, { code: version });
    const major = version.split(".")[0];
    const want = `dependencies = ["net@${major === "0" ? "*" : `^${major}`}"]\n`;
    addVersion(place, "lxc", version, { code: version, "state/a": version }, want);
  }
  for (const [name, version] of [["net", "1.0.0"], ["lxc", "0.9.0"], ["lxc", "1.0.0"]]) {
    await activate(place, name!, version!);
  }
  Deno.writeTextFileSync(`${root}/@plugin-lxc/state/a`, "mine");
  Deno.writeTextFileSync(`${root}/@plugin-lxc/state/b`, "mine");
}

/** What is visible, as one text. */
function look(root: string): string {
  const trees = [...Deno.readDirSync(root)].map((entry) => entry.name)
    .filter((name) => name.startsWith("@")).sort()
    .filter((name) => name !== "@plugin-snapshots");
  const versions = [...Deno.readDirSync(`${root}/@plugin-snapshots`)]
    .map((entry) => entry.name).sort();
  const all = trees.map((name) => [name, readTree(`${root}/${name}`)]);
  return JSON.stringify([all, versions], null, 1);
}

async function run(root: string, scenario: string, n: number): Promise<string> {
  const { signal, success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", CHILD, root, scenario, String(n)],
  }).output();
  if (signal === "SIGKILL") return "killed";
  assertTrue(success, new TextDecoder().decode(stderr));
  return "done";
}

async function killEverywhere(folder: string, scenario: string): Promise<void> {
  const before = `${folder}/before`, after = `${folder}/after`;
  await prepare(before);
  await prepare(after);
  assertEquals(await run(after, scenario, 0), "done");
  const oldLook = look(before), newLook = look(after);
  assertTrue(oldLook !== newLook);
  const calls = Number(Deno.readTextFileSync(`${after}.calls`));
  let sawOld = 0, sawNew = 0;
  for (let n = 1; n <= calls; n += STRIDE) {
    const root = `${folder}/${n}`;
    await prepare(root);
    assertEquals(await run(root, scenario, n), "killed", `${scenario} ${n} of ${calls}`);
    // Even before anybody cleans up, what is live is whole.
    const broken = discover(testPlace(root).layout).filter((p) => !p.manifest);
    assertEquals(broken, [], `${scenario} ${n}`);
    const place = testPlace(root);
    await recover(place);
    const now = look(root);
    assertTrue(now === oldLook || now === newLook, `${scenario} ${n}: neither:\n${now}`);
    if (now === oldLook) sawOld++;
    else sawNew++;
    const plugins = livePlugins(place.layout).map(({ name, manifest, dependencies }) => ({
      name,
      version: manifest.version,
      dependencies,
    }));
    assertEquals(unmetDependencies(plugins), [], `${scenario} ${n}`);
    const left = [...Deno.readDirSync(root)].map((entry) => entry.name)
      .filter((name) => name.startsWith("."));
    assertEquals(left, [], `${scenario} ${n}`);
    assertEquals(existsSync(`${root}/meta/plugin-transaction.json`), false);
    assertEquals((await recover(place)).finished, [], "a second recovery finds nothing");
    for (const name of ["@plugin-lxc", "@plugin-net", "@previous-lxc", "@previous-net"]) {
      place.store.destroy(`${root}/${name}`);
    }
  }
  assertTrue(sawOld > 0 && sawNew > 0, `${sawOld} old, ${sawNew} new`);
}

for (const scenario of ["upgrade", "rollback", "remove", "purge"]) {
  platformTest(`kill -9 at every call of ${scenario} (btrfs)`, async () => {
    await using scratch = await btrfsScratch(512);
    await killEverywhere(scratch.path, scenario);
  });
}

Deno.test("kill -9 at every call of upgrade (folder)", async () => {
  await using scratch = await tempFolder();
  await killEverywhere(scratch.path, "upgrade");
});
