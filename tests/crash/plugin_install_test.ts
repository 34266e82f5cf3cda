/**
 * kill -9 at the changing system calls of a whole install: download, record, receive,
 * activate. Afterwards the plugins are old or new, whole, and fit together; the next
 * install finishes the job.
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest } from "../support/scratch.ts";
import { discover } from "../../lib/plugin/discovery.ts";
import { livePlugins, unmetDependencies } from "../../lib/plugin/installed.ts";
import { verifyPlugin } from "../../lib/plugin/manage.ts";
import { recover } from "../../lib/plugin/transaction.ts";
import { storedVersions } from "../../lib/plugin/version_store.ts";
import { makeRepository, testHost, type TestRepository } from "../plugin/repo_kit.ts";

const CHILD = new URL("./plugin_install_child.ts", import.meta.url).pathname;
/** Each fifth call by default; OPDBUS_CRASH_STRIDE=1 takes every one. */
const STRIDE = Number(Deno.env.get("OPDBUS_CRASH_STRIDE") ?? 5);

async function repository(folder: string): Promise<TestRepository> {
  const plugins = ["1.0.0", "2.0.0"].flatMap((version) => [
    { name: "net", version, tree: { code: version, "deep/er": "x".repeat(100_000) } },
    {
      name: "lxc",
      version,
      tree: { code: version, "state/a": version },
      more: `dependencies = ["net@^${version[0]}"]\n`,
    },
  ]);
  const made = await makeRepository(`${folder}/repo`, plugins);
  const key = { ...made.key, key: made.key.key.toHex(), seed: made.key.seed.toHex() };
  Deno.writeTextFileSync(`${folder}/key.json`, JSON.stringify(key));
  return made;
}

async function run(args: string[]): Promise<"killed" | "done"> {
  const { signal, success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", CHILD, ...args],
  }).output();
  if (signal === "SIGKILL") return "killed";
  assertTrue(success, new TextDecoder().decode(stderr));
  return "done";
}

async function killInstall(folder: string, before: string[], goal: string[]) {
  const { folder: repo, key } = await repository(folder);
  const prepare = async (root: string) => {
    Deno.mkdirSync(root);
    const host = testHost(root, repo, [key]);
    await host.update();
    if (before.length > 0) await host.install(before);
    return host;
  };
  const live = (root: string) =>
    livePlugins(testHost(root, repo, [key]).place.layout)
      .map((p) => `${p.name}@${p.manifest.version}`);
  await prepare(`${folder}/after`);
  await run([`${folder}/after`, repo, "0", ...goal]);
  const wanted = live(`${folder}/after`);
  const calls = Number(Deno.readTextFileSync(`${folder}/after.calls`));
  const outcomes = new Set<string>();
  for (let n = 1; n <= calls; n += STRIDE) {
    const root = `${folder}/${n}`, at = `call ${n} of ${calls}`;
    const host = await prepare(root), { layout } = host.place;
    const old = live(root);
    assertEquals(await run([root, repo, String(n), ...goal]), "killed", at);
    assertEquals(discover(layout).filter((p) => !p.manifest), [], at);
    await recover(host.place);
    const now = live(root);
    assertTrue([String(old), String(wanted)].includes(String(now)), `${at}: ${now}`);
    outcomes.add(String(now));
    const plugins = livePlugins(layout).map(({ name, manifest, dependencies }) => ({
      name,
      version: manifest.version,
      dependencies,
    }));
    assertEquals(unmetDependencies(plugins), [], at);
    for (const { name } of plugins) assertTrue(verifyPlugin(layout, name).ok, at);
    assertEquals(storedVersions(layout).filter(({ record }) => !record), [], at);
    const left = [...Deno.readDirSync(root), ...Deno.readDirSync(layout.pluginSnapshots)]
      .filter(({ name }) => name.startsWith("."));
    assertEquals(left, [], at);
    await host.install(goal);
    assertEquals(live(root), wanted, `${at}: the next install`);
  }
  assertEquals(outcomes.size, 2, [...outcomes].join(" | "));
}

platformTest("kill -9 during a first install (btrfs)", async () => {
  await using scratch = await btrfsScratch(1024);
  await killInstall(scratch.path, [], ["lxc"]);
});

platformTest("kill -9 during an upgrade of two by packages (btrfs)", async () => {
  await using scratch = await btrfsScratch(1024);
  await killInstall(scratch.path, ["lxc@1.0.0"], ["lxc", "net"]);
});

platformTest("two installs at once: one works, the other waits or exits 5", async () => {
  await using scratch = await btrfsScratch(512);
  const { folder: repo, key } = await repository(scratch.path);
  const root = `${scratch.path}/root`;
  Deno.mkdirSync(root);
  await testHost(root, repo, [key]).update();
  const spawn = () =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", CHILD, root, repo, "-1", "lxc"],
    }).output();
  const results = await Promise.all([spawn(), spawn(), spawn()]);
  const texts = results.filter((one) => !one.success)
    .map((one) => new TextDecoder().decode(one.stderr));
  assertTrue(texts.length < 3, texts.join());
  for (const text of texts) assertTrue(text.includes("another op-dbus holds it"), text);
  const { layout } = testHost(root, repo, [key]).place;
  assertEquals(livePlugins(layout).map((p) => p.name), ["lxc", "net"]);
  for (const name of ["lxc", "net"]) assertTrue(verifyPlugin(layout, name).ok);
});
