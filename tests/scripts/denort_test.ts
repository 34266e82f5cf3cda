/**
 * Route A as far as it goes where denort cannot be had: with the full deno in its place the
 * program is embedded, and what comes out ignores it.
 */
import { assertEquals } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { compileWithDenort } from "../../scripts/release/denort.ts";
import type { Arch } from "../../scripts/release/build.ts";

Deno.test("a denort that is a full deno is found out by a start, and nothing is left", async () => {
  await using scratch = await tempFolder();
  const folder = `${scratch.path}/app`, path = `${scratch.path}/op-dbus`;
  await Deno.mkdir(folder);
  await Deno.writeTextFile(`${folder}/main.js`, "console.log('op-dbus 0.0.0');\n");
  const before = Deno.env.get("DENORT_BIN");
  Deno.env.set("DENORT_BIN", Deno.execPath());
  try {
    const built = {
      folder,
      files: ["main.js"],
      assets: [],
      version: "0.0.0",
      commit: null,
    };
    assertEquals(await compileWithDenort(built, Deno.build.arch as Arch, path), {
      made: false,
      why: "what denort made does not start as op-dbus",
    });
  } finally {
    if (before === undefined) Deno.env.delete("DENORT_BIN");
    else Deno.env.set("DENORT_BIN", before);
  }
  assertEquals([...Deno.readDirSync(scratch.path)].map(({ name }) => name), ["app"]);
});
