/**
 * The native engine of the executable. It needs libstdc++, so it is no part of the command
 * line's tests, which run where libc is all there is.
 */
import { writeModelFolder } from "../../scripts/models/folder.ts";
import { assertEquals } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { sh } from "../support/scratch.ts";

Deno.test("the native engine leaves nothing in HOME and TMPDIR, and reports to nobody", async () => {
  await using root = await plainRoot();
  const folder = `${root.scratch.path}/tiny`;
  await writeModelFolder(folder);
  // A worker that lacks a permission ends with a message, and the engine without it. Adding
  // a model runs it several times, and the second run is the first on a thread of ours.
  const quiet = (stderr: string) =>
    assertEquals(stderr.match(/Uncaught|NotCapable/g), null, stderr);
  quiet((await root.run(["model", "add", "tiny", folder])).stderr);
  const home = `${root.scratch.path}/home`, temporary = `${root.scratch.path}/tmp`;
  await Deno.mkdir(home);
  await Deno.mkdir(temporary);
  const deno = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const env = { HOME: home, TMPDIR: temporary, DENO_DIR: deno };
  const args = ["embed", "some text", "--model", "tiny", "--device", "cpu"];
  const { code, stderr } = await root.run(args, { env });
  assertEquals(code, 0, stderr);
  quiet(stderr);
  assertEquals([...Deno.readDirSync(temporary)], []);
  const left = await sh("find", home, "-type", "f");
  assertEquals(left.split("\n").filter((path) => /microsoft|onnx/i.test(path)), []);
});
