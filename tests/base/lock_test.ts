import {
  assertEquals,
  assertIncludes,
  assertRejects,
  assertTrue,
} from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { LockedError } from "../../lib/base/errors.ts";
import { acquireLock, tryLock } from "../../lib/base/lock.ts";

Deno.test("a held lock: refused with the holder's pid, shared among readers, waited for", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/x.lock`;
  {
    using _held = tryLock(path);
    const error = await assertRejects(() => acquireLock(path), LockedError);
    assertIncludes(error.message, `(pid ${Deno.pid})`);
    assertEquals([tryLock(path), tryLock(path, true)], [null, null]);
  }
  {
    using a = tryLock(path, true);
    using b = tryLock(path, true);
    assertTrue(a && b);
    await assertRejects(() => acquireLock(path), LockedError, /holds it$/);
  }
  const first = tryLock(path)!;
  const second = acquireLock(path, { waitMs: 60_000 });
  first[Symbol.dispose]();
  (await second)[Symbol.dispose]();
  assertEquals((await Deno.stat(path)).size, 0);
});
