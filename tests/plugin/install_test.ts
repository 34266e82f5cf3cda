import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, tempFolder } from "../support/scratch.ts";
import {
  ConfirmationError,
  InputError,
  LockedError,
  OpError,
} from "../../lib/base/errors.ts";
import { createSubvolume, openFolder } from "../../ffi/btrfs.ts";
import { withFd } from "../../ffi/files.ts";
import { acquireLock } from "../../lib/base/lock.ts";
import { collectGarbage, planGc, verifyPlugin } from "../../lib/plugin/manage.ts";
import { livePlugins } from "../../lib/plugin/installed.ts";
import { readLockFile } from "../../lib/plugin/lockfile.ts";
import { thisHost } from "../../lib/plugin/requirements.ts";
import { lockFilePath } from "../../lib/plugin/places.ts";
import { storedVersions } from "../../lib/plugin/version_store.ts";
import { TrustStore } from "../../lib/plugin/trust_store.ts";
import { generateSecretKey, publicOf, serve } from "./kit.ts";
import { readTree } from "./live_kit.ts";
import {
  changesText,
  filesOf,
  makeRepository,
  publishPlugin,
  reindex,
  type TestHost,
  testHost,
} from "./repo_kit.ts";

const LXC1 = {
  name: "lxc",
  version: "1.0.0",
  more: 'dependencies = ["net@^1"]\n',
  tree: { "state/c.json": "[]" },
};
const LXC2 = { ...LXC1, version: "1.2.0", tree: { "state/c.json": "[]", "b": "2" } };
const NET1 = { name: "net", version: "1.0.0" };
const NET2 = { name: "net", version: "2.0.0" };

function live(host: TestHost): string[] {
  return livePlugins(host.place.layout).map((p) => `${p.name}@${p.manifest.version}`);
}

/** On btrfs and on a plain folder alike. */
function onBoth(name: string, run: (folder: string) => Promise<void>): void {
  platformTest(`${name} (btrfs)`, async () => {
    await using scratch = await btrfsScratch(256);
    await run(scratch.path);
  });
  Deno.test(`${name} (folder)`, async () => {
    await using scratch = await tempFolder();
    await run(scratch.path);
  });
}

onBoth(
  "install by name over http brings what it depends on; all verified",
  async (folder) => {
    const { key, folder: repository } = await makeRepository(`${folder}/repo`, [
      LXC1,
      LXC2,
      NET1,
      NET2,
    ]);
    await using server = serve(filesOf(repository));
    Deno.mkdirSync(`${folder}/root`);
    const host = testHost(`${folder}/root`, server.url, [key]);
    const seen: string[] = [];
    const done = await host.install(["lxc"], {
      agree: (changes) => {
        for (const { name, to, package: one } of changes) {
          seen.push(`${name}@${to} ${one!.signedBy}`);
        }
        assertEquals(live(host), [], "nothing is live before somebody agrees");
        return Promise.resolve();
      },
    });
    assertEquals(changesText(done), "install net - -> 1.0.0; install lxc - -> 1.2.0");
    assertEquals(seen, [`net@1.0.0 ${key.id}`, `lxc@1.2.0 ${key.id}`]);
    assertEquals(live(host), ["lxc@1.2.0", "net@1.0.0"]);
    const { layout } = host.place;
    assertEquals(verifyPlugin(layout, "lxc").ok, true);
    const locked = readLockFile(lockFilePath(layout))!.plugins;
    assertEquals(locked.map((p) => [p.name, p.version, p.source, p.signed_by]), [
      ["lxc", "1.2.0", "repository hub", key.id],
      ["net", "1.0.0", "repository hub", key.id],
    ]);
    assertEquals(
      [...Deno.readDirSync(`${layout.meta}/downloads`)],
      [],
      "downloads are gone",
    );
    assertEquals(host.place.records.map((r) => `${r.action} ${r.subject}`), [
      "install net@1.0.0",
      "install lxc@1.2.0",
    ]);
    assertEquals(
      await host.install(["lxc@^1"]),
      [],
      "a second time there is nothing to do",
    );

    Deno.writeTextFileSync(`${layout.plugin("lxc")}/state/c.json`, "[1]");
    const down = await host.install(["lxc@1.0.0"]);
    assertEquals(changesText(down), "downgrade lxc 1.2.0 -> 1.0.0");
    const asked = server.log.length;
    const up = await host.upgrade([]);
    assertEquals(changesText(up), "upgrade lxc 1.0.0 -> 1.2.0");
    assertEquals(server.log.length, asked, "1.2.0 is here: nothing is fetched again");
    assertEquals(readTree(layout.plugin("lxc"))["state/c.json"], "[1]");
    assertEquals(verifyPlugin(layout, "lxc"), {
      name: "lxc",
      version: "1.2.0",
      fault: null,
      changed: [],
      users: ["state/c.json"],
      ok: true,
    });
    Deno.writeTextFileSync(`${layout.plugin("lxc")}/b`, "changed");
    assertEquals(verifyPlugin(layout, "lxc").changed, ["b"]);
  },
);

onBoth(
  "what nobody agrees to, is interrupted or conflicts, changes nothing",
  async (folder) => {
    const { key, folder: repository } = await makeRepository(`${folder}/repo`, [
      LXC1,
      LXC2,
      NET1,
      NET2,
      { name: "maker", version: "1.0.0", more: 'dependencies = ["net@^2"]\n' },
    ]);
    Deno.mkdirSync(`${folder}/root`);
    const host = testHost(`${folder}/root`, repository, [key]);
    await host.install(["lxc@1.0.0"]);
    const unchanged = () => {
      assertEquals(live(host), ["lxc@1.0.0", "net@1.0.0"]);
      const versions = storedVersions(host.place.layout).map((v) =>
        `${v.name}@${v.version}`
      );
      assertEquals(versions, ["lxc@1.0.0", "net@1.0.0"]);
      const root = [...Deno.readDirSync(`${folder}/root`)].map((e) => e.name).sort();
      assertEquals(root, ["@plugin-lxc", "@plugin-net", "@plugin-snapshots", "meta"]);
    };
    unchanged();
    const no = new ConfirmationError("declined", "No");
    await assertRejects(
      () => host.install(["lxc"], { agree: () => Promise.reject(no) }),
      ConfirmationError,
    );
    unchanged();
    const stop = new AbortController();
    const reason = new OpError("interrupted", "Interrupted");
    await assertRejects(
      () =>
        host.install(["lxc"], {
          signal: stop.signal,
          agree: () => Promise.resolve(stop.abort(reason)),
        }),
      OpError,
      /Interrupted/,
    );
    unchanged();
    const conflict = await assertRejects(() => host.install(["maker"]), OpError);
    assertIncludes(conflict.message, "lxc@1.0.0 (installed) wants ^1");
    unchanged();
    assertEquals(await host.install(["lxc"], { planned: () => false }), []);
    unchanged();
  },
);

onBoth(
  "a local file: signed, unsigned, of an unknown key, wrongly signed",
  async (folder) => {
    const { key, folder: repository } = await makeRepository(`${folder}/repo`, [NET1]);
    const stranger = generateSecretKey();
    const other = await makeRepository(`${folder}/other`, [NET2], stranger);
    Deno.mkdirSync(`${folder}/root`);
    const host = testHost(`${folder}/root`, repository, [key]);
    const file = `${folder}/other/net/net-v2.0.0.btrfs.zst`;
    const unknown = await assertRejects(() => host.install([file]), OpError);
    assertEquals(unknown.code, "unknown_key");
    new TrustStore(host.place.layout).trust(publicOf(stranger));
    assertEquals(changesText(await host.install([file])), "install net - -> 2.0.0");
    new TrustStore(host.place.layout).revoke(stranger.id, "stolen");
    await publishPlugin(other, { ...NET2, version: "2.1.0" });
    const next = `${folder}/other/net/net-v2.1.0.btrfs.zst`;
    await assertRejects(() => host.install([next]), InputError, /revoked: stolen/);
    Deno.removeSync(`${next}.minisig`);
    const unsigned = await assertRejects(() => host.install([next]), OpError);
    assertEquals(unsigned.code, "unsigned");
    await host.install([next], { allowUnsigned: true });
    assertIncludes(host.notes.join("\n"), "NOT signed");
    assertEquals(live(host), ["net@2.1.0"]);
    const own = `${repository}/net/net-v1.0.0.btrfs.zst`;
    Deno.copyFileSync(`${own}.minisig`, `${next}.minisig`);
    const wrong = await assertRejects(
      () => host.install([next], { allowUnsigned: true }),
      OpError,
    );
    assertEquals(wrong.code, "bad_signature", "a wrong signature is refused in any case");
    const renamed = `${folder}/net-v9.0.0.btrfs.zst`;
    Deno.copyFileSync(own, renamed);
    Deno.copyFileSync(`${own}.minisig`, `${renamed}.minisig`);
    const error = await assertRejects(() => host.install([renamed]), OpError);
    assertEquals(error.code, "wrong_package");
  },
);

Deno.test("a URL is fetched with its signature, and refused without", async () => {
  await using scratch = await tempFolder();
  const folder = scratch.path;
  const { key, folder: repository } = await makeRepository(`${folder}/repo`, [NET1]);
  await using server = serve(filesOf(repository));
  Deno.mkdirSync(`${folder}/root`);
  const host = testHost(`${folder}/root`, server.url, [key]);
  const url = `${server.url}net/net-v1.0.0.btrfs.zst`;
  assertEquals(changesText(await host.install([url])), "install net - -> 1.0.0");
  server.files.delete("net/net-v1.0.0.btrfs.zst.minisig");
  const error = await assertRejects(
    () => host.install([url], { allowUnsigned: true }),
    OpError,
  );
  assertEquals(error.code, "unsigned", "--allow-unsigned is for local files only");
  await assertRejects(
    () => host.install([`${server.url}x.zip`]),
    InputError,
    /not called/,
  );
});

Deno.test("what the host lacks stops an install; --ignore-requirements goes on", async () => {
  await using scratch = await tempFolder();
  const folder = scratch.path;
  const { key, folder: repository } = await makeRepository(`${folder}/repo`, [
    { ...NET1, more: "requires_proxmox = true\n" },
    { ...LXC1, more: 'requires = { dbus = ["org.a.Gone", "org.a.There"] }\n' },
    { name: "far", version: "1.0.0", more: 'requires = { dbus = ["org.a.Far"] }\n' },
  ]);
  Deno.mkdirSync(`${folder}/root`);
  const host = testHost(`${folder}/root`, repository, [key]);
  const bare = {
    ...thisHost({ askBus: () => Promise.resolve(new Set(["org.a.There"])) }),
    isProxmox: () => false,
  };
  const byName = () => host.install(["net"], { host: bare });
  await assertRejects(byName, OpError, /this host lacks Proxmox VE/);
  const byFile = () =>
    host.install([`${repository}/net/net-v1.0.0.btrfs.zst`], { host: bare });
  await assertRejects(byFile, OpError, /net@1.0.0 needs Proxmox VE/);
  const dbus = () => host.install(["lxc"], { host: bare });
  await assertRejects(dbus, OpError, /lxc@1.0.0 needs D-Bus service org.a.Gone$/);
  assertEquals(live(host), []);
  const unreachable = new OpError("dbus_unreachable", "Cannot connect to the system bus");
  await host.install(["far"], {
    host: thisHost({ askBus: () => Promise.reject(unreachable) }),
  });
  assertEquals(host.notes, [
    "far@1.0.0 needs something that may not be here: D-Bus service org.a.Far " +
    "(Cannot connect to the system bus)",
  ]);
  await host.install(["net", "lxc"], { host: bare, ignoreRequirements: true });
  assertEquals(live(host), ["far@1.0.0", "lxc@1.0.0", "net@1.0.0"]);
});

Deno.test("--locked installs exactly what the lock file says", async () => {
  await using scratch = await tempFolder();
  const folder = scratch.path;
  const made = await makeRepository(`${folder}/repo`, [LXC1, NET1]);
  for (const name of ["a", "b"]) Deno.mkdirSync(`${folder}/${name}`);
  const a = testHost(`${folder}/a`, made.folder, [made.key]);
  await a.install(["lxc"]);
  const { plugins: locked } = readLockFile(lockFilePath(a.place.layout))!;
  await publishPlugin(made, LXC2);
  await reindex(made);
  const b = testHost(`${folder}/b`, made.folder, [made.key]);
  await b.install(["lxc"], { locked });
  assertEquals(live(b), ["lxc@1.0.0", "net@1.0.0"]);
  const other = locked.map((one) => ({ ...one, tree: "0".repeat(64) }));
  Deno.mkdirSync(`${folder}/c`);
  const c = testHost(`${folder}/c`, made.folder, [made.key]);
  await assertRejects(
    () => c.install(["lxc"], { locked: other }),
    OpError,
    /No repository/,
  );
});

Deno.test("a second install waits, or says who holds the lock: exit 5", async () => {
  await using scratch = await tempFolder();
  const folder = scratch.path;
  const { key, folder: repository } = await makeRepository(`${folder}/repo`, [NET1]);
  Deno.mkdirSync(`${folder}/root`);
  const host = testHost(`${folder}/root`, repository, [key]);
  using _held = await acquireLock(host.place.layout.lock("plugin"));
  const error = await assertRejects(() => host.install(["net"]), LockedError);
  assertEquals(error.exitCode, 5);
});

platformTest(
  "a difference is chosen where its base is here, and the whole where it fails",
  async () => {
    await using scratch = await btrfsScratch(512);
    const folder = scratch.path;
    const noise = crypto.getRandomValues(new Uint8Array(50_000)).toBase64();
    const { key, folder: repository } = await makeRepository(`${folder}/repo`, []);
    const { snapshotPlugin } = await import("../../lib/plugin/snapshot.ts");
    const { signFile } = await import("../../lib/plugin/sign_file.ts");
    Deno.mkdirSync(`${folder}/author`);
    Deno.mkdirSync(`${repository}/net`);
    const author = testHost(`${folder}/author`, repository, [key]).place;
    const output = `${repository}/net`;
    withFd(openFolder(`${folder}/author`), (fd) => createSubvolume(fd, "@plugin-net"));
    for (
      const [version, from] of [["1.0.0", null], ["1.1.0", null], ["1.1.0", "1.0.0"]]
    ) {
      Deno.writeTextFileSync(
        `${author.layout.plugin("net")}/plugin.toml`,
        `name = "net"\nversion = "${version}"\nauthor = "me"\n`,
      );
      const big = `${author.layout.plugin("net")}/big`;
      if (version === "1.0.0") Deno.writeTextFileSync(big, noise);
      const options = { output, ...(from && { deltaFrom: from }) };
      signFile((await snapshotPlugin(author, "net", options)).package, key);
    }
    const { index } = await reindex({ folder: repository, key });
    const entry = index.plugins.net!.versions[0]!;
    assertEquals(entry.deltas.map((delta) => delta.from), ["1.0.0"]);
    assertTrue(entry.deltas[0]!.size * 10 < entry.size);

    await using server = serve(filesOf(repository));
    for (const broken of [false, true]) {
      const root = `${folder}/root-${broken}`;
      Deno.mkdirSync(root);
      const host = testHost(root, server.url, [key]);
      await host.install(["net@1.0.0"]);
      if (broken) {
        const delta = server.files.get(entry.deltas[0]!.file)!;
        server.files.set(
          entry.deltas[0]!.file,
          delta.map((byte, i) => i === 40 ? ~byte : byte),
        );
      }
      server.log.length = 0;
      await host.upgrade([]);
      assertEquals(live(host), ["net@1.1.0"]);
      assertEquals(verifyPlugin(host.place.layout, "net").ok, true);
      assertEquals(server.log.includes(entry.file), broken);
      if (broken) assertIncludes(host.notes.join(), "of no use");
    }
  },
);

onBoth(
  "gc keeps what is live, the way back and the newest, and says why",
  async (folder) => {
    const versions = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"];
    const made = await makeRepository(
      `${folder}/repo`,
      versions.map((version) => ({ name: "net", version })),
    );
    Deno.mkdirSync(`${folder}/root`);
    const host = testHost(`${folder}/root`, made.folder, [made.key]);
    for (const version of ["1.3.0", "1.2.0", "1.1.0", "1.0.0"]) {
      await host.install([`net@${version}`]);
    }
    const { place } = host;
    const plan = planGc(place.layout, 1);
    assertEquals(plan.map(({ version, keep, reason }) => [version, keep, reason]), [
      ["1.3.0", true, "among the newest 1"],
      ["1.2.0", false, "older than the newest 1"],
      ["1.1.0", true, "rollback goes back to it"],
      ["1.0.0", true, "live"],
    ]);
    await collectGarbage(place, plan);
    assertEquals(storedVersions(place.layout).map((v) => v.version), [
      "1.3.0",
      "1.1.0",
      "1.0.0",
    ]);
    assertEquals(place.records.at(-1)!.subject, "net@1.2.0");
  },
);
