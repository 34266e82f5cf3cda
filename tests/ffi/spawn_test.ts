import { assertEquals, assertRejects } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { SysError } from "../../ffi/errno.ts";
import { runProgram } from "../../ffi/spawn.ts";

Deno.test("a program gets its arguments and environment; status and output come back", async () => {
  await using scratch = await tempFolder();
  const out = `${scratch.path}/out`;
  const script = 'echo "$1|$2|$A|${HOME-unset}"; read -r line || echo "no input"; exit 7';
  const status = await runProgram(
    "/bin/sh",
    ["-c", script, "sh", "two words", "ünï"],
    ["A=b c"],
    out,
  );
  assertEquals(status, 7);
  assertEquals(await Deno.readTextFile(out), "two words|ünï|b c|unset\nno input\n");
});

Deno.test("a signal is 128 and its number; what cannot be started says why", async () => {
  await using scratch = await tempFolder();
  const out = `${scratch.path}/out`;
  assertEquals(await runProgram("/bin/sh", ["-c", "kill -9 $$"], [], out), 137);
  const missing = runProgram(`${scratch.path}/missing`, [], [], out);
  assertEquals((await assertRejects(() => missing, SysError)).code, "ENOENT");
});
