import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { platformTest, sh } from "../support/scratch.ts";
import { testRoot } from "../support/root.ts";
import { close, pread } from "../../ffi/files.ts";
import { InputError, LockedError, OpError } from "../../lib/base/errors.ts";
import { acquireLock } from "../../lib/base/lock.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { parsePolicy } from "../../lib/snapshot/policy.ts";
import { findSnapshot } from "../../lib/snapshot/remove.ts";
import { openInSnapshot, restore, restoreTo } from "../../lib/snapshot/restore.ts";
import { rotate } from "../../lib/snapshot/rotate.ts";
import { discardStale } from "../../lib/snapshot/stale.ts";
import type { Target } from "../../lib/snapshot/target.ts";

const HOUR = 3_600_000;
const NOW = Math.floor(Date.now() / 60_000) * 60_000;
const names = (target: Target) => listFound(target).map(({ name }) => name);

platformTest(
  "restore: the content is back, what was live is a snapshot, ours again",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache"), note = `${cache.path}/note`;
    await Deno.writeTextFile(note, "one");
    const one = await createSnapshot(cache, { nowMs: NOW - 2 * HOUR });
    await Deno.writeTextFile(note, "two");
    const result = await restore(cache, one.name, { nowMs: NOW });
    assertEquals(await Deno.readTextFile(note), "one");
    assertEquals(await Deno.readTextFile(`${cache.folder}/${result.saved}/note`), "two");
    assertEquals(names(cache), [one.name, result.saved!]);
    assertEquals(listFound(cache).map(({ problem }) => problem), [null, null]);
    await Deno.writeTextFile(note, "three"); // it is writable
    const back = await restore(cache, result.saved!, { nowMs: NOW + HOUR });
    assertEquals(await Deno.readTextFile(note), "two");
    const { deleted } = await rotate(cache, parsePolicy("keep_last=1"), {
      nowMs: NOW + 2 * HOUR,
    });
    assertEquals(deleted, [one.name, result.saved!, back.saved!]);
    const property = await sh("btrfs", "property", "get", cache.path, "compression");
    assertEquals(property.trim(), "compression=zstd");
    const left = await sh("ls", "-A", root.layout.root);
    assertTrue(!left.includes(".tmp-"), left);
  },
);

platformTest(
  "restore refuses while a writer holds the lock, or has the database open",
  async () => {
    await using root = await testRoot();
    const cache = root.target("cache");
    const { name } = await createSnapshot(cache);
    {
      using _writer = await acquireLock(cache.writerLock!, { shared: true });
      const error = await assertRejects(() => restore(cache, name), LockedError);
      assertEquals(error.exitCode, 5);
    }
    const script = `
    import { DatabaseSync } from "node:sqlite";
    const db = new DatabaseSync(Deno.args[0]);
    db.exec("PRAGMA journal_mode=WAL; CREATE TABLE t (a)");
    console.log("open");
    await Deno.stdin.read(new Uint8Array(1));`;
    await Deno.writeTextFile(`${root.mount}/open.ts`, script);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${root.mount}/open.ts`, root.layout.index],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    const error = await assertRejects(() => restore(cache, name), LockedError);
    assertIncludes(error.message, `it is in use by process ${child.pid}`);
    await child.stdin.close();
    await reader.cancel();
    await child.status;
    const { notes, saved } = await restore(cache, name);
    assertEquals(notes, [], "nobody wrote, so there is nothing more to save");
    assertEquals(names(cache), [name, saved!].sort());
  },
);

platformTest(
  "restore refuses nested subvolumes, unknown names, writable snapshots",
  async () => {
    await using root = await testRoot();
    const state = root.target("state");
    const { name } = await createSnapshot(state, { nowMs: NOW });
    await assertRejects(() => restore(state, "state@2001-01-01-00:00"), InputError);
    await sh(
      "btrfs",
      "subvolume",
      "snapshot",
      state.path,
      `${state.folder}/state@2020-01-01-00:00`,
    );
    const writable = await assertRejects(
      () => restore(state, "2020-01-01-00:00"),
      OpError,
    );
    assertEquals(writable.code, "not_read_only");
    await sh("btrfs", "subvolume", "create", `${state.path}/nested`);
    const nested = await assertRejects(() => restore(state, name), OpError);
    assertEquals(nested.code, "nested_subvolumes");
    assertTrue((await Deno.stat(`${state.path}/nested`)).isDirectory);
  },
);

platformTest(
  "restore when the live subvolume is gone; restore beside; not over something",
  async () => {
    await using root = await testRoot();
    const state = root.target("state");
    await Deno.writeTextFile(`${state.path}/note`, "kept");
    const { name } = await createSnapshot(state, { nowMs: NOW });
    await sh("btrfs", "subvolume", "delete", state.path);
    const { saved } = await restore(state, name);
    assertEquals(saved, null);
    assertEquals(await Deno.readTextFile(`${state.path}/note`), "kept");
    restoreTo(state, name, `${root.mount}/beside/copy`);
    await Deno.writeTextFile(`${root.mount}/beside/copy/note`, "changed");
    const there = assertThrows(
      () => restoreTo(state, name, `${root.mount}/beside/copy`),
      InputError,
    );
    assertEquals(there.code, "exists");
    const far = assertThrows(
      () => restoreTo(state, name, "/dev/shm/op-dbus-far"),
      InputError,
    );
    assertEquals(far.code, "other_file_system");
  },
);

platformTest(
  "single files are read out of a snapshot, and nothing outside it",
  async () => {
    await using root = await testRoot();
    const state = root.target("state");
    await Deno.writeTextFile(`${state.path}/note`, "kept");
    await Deno.mkdir(`${state.path}/folder`);
    await Deno.symlink("/etc/passwd", `${state.path}/link`);
    await createSnapshot(state, { nowMs: NOW });
    const [found] = listFound(state);
    const fd = openInSnapshot(found!, "/note"), into = new Uint8Array(10);
    assertEquals(pread(fd, into, 0), 4);
    close(fd);
    for (const path of ["link", "../../root.json", "none", "folder", "note/x"]) {
      assertThrows(() => openInSnapshot(found!, path), InputError);
    }
    assertEquals(findSnapshot(state, found!.name).name, found!.name);
  },
);

platformTest(
  "what an interrupted restore left: a pristine copy goes, a former live one is saved",
  async () => {
    await using root = await testRoot();
    const state = root.target("state"), above = root.layout.root;
    await Deno.writeTextFile(`${state.path}/note`, "kept");
    const { path, name } = await createSnapshot(state, { nowMs: NOW - HOUR });
    await sh("btrfs", "subvolume", "snapshot", path, `${above}/.tmp-restore-@state-1`);
    assertEquals(discardStale(state), [
      ".tmp-restore-@state-1 of an interrupted restore was removed",
    ]);
    assertEquals(names(state), [name]);
    await sh("btrfs", "subvolume", "snapshot", path, `${above}/.tmp-restore-@state-2`);
    await Deno.writeTextFile(
      `${above}/.tmp-restore-@state-2/note`,
      "written after the exchange",
    );
    const [, saved] = discardStale(state);
    const [, rescued] = names(state);
    assertEquals(saved, `its content is in ${rescued}`);
    assertEquals(
      await Deno.readTextFile(`${state.folder}/${rescued}/note`),
      "written after the exchange",
    );
    assertEquals(discardStale(state), []);
  },
);
