import { makeFolder } from "../../lib/base/folder.ts";
import { SysError } from "../../ffi/errno.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";

Deno.test("a folder is made where it is missing, a link to one is as good, a file is not", async () => {
  await using scratch = await tempFolder();
  const at = (name: string) => `${scratch.path}/${name}`;
  assertEquals(makeFolder(at("new"), 0o700), true);
  assertEquals(Deno.statSync(at("new")).mode! & 0o777, 0o700);
  assertEquals(makeFolder(at("new")), false);
  Deno.symlinkSync(at("new"), at("link"));
  assertEquals(makeFolder(at("link")), false);
  Deno.writeTextFileSync(at("file"), "");
  assertThrows(() => makeFolder(at("file")), SysError, /EEXIST/);
  assertThrows(() => makeFolder(at("none/new")), SysError, /ENOENT/);
});
