/** The permissions that the executable runs with: enough, and no more. */
import { assertEquals, assertIncludes } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { PERMISSIONS } from "../../scripts/permissions.ts";
import { executable } from "./executable.ts";

Deno.test("each permission has its reason; none is everything, none is a bare library", () => {
  for (const { flag, reason } of PERMISSIONS) {
    assertIncludes(flag, /^--allow-(ffi|read|write|env|net|sys=[\w,]+|run=[\w/.,]+)$/);
    assertEquals(reason.length > 10, true);
  }
});

Deno.test("texts come through a file that only libc may open: <(command), /dev/stdin", async () => {
  await using scratch = await tempFolder();
  await Deno.writeTextFile(`${scratch.path}/texts`, "one\ntwo\nthree\n");
  const root = `--root '${scratch.path}/root'`, program = `'${executable()}'`;
  await sh(executable(), "init", "--plain", "--root", `${scratch.path}/root`);
  for (const from of [`<(cat '${scratch.path}/texts')`, "/dev/stdin"]) {
    const line =
      `${program} ${root} --config /dev/null embed --output jsonl --file ${from} ` +
      `<'${scratch.path}/texts'`;
    const out = await sh("bash", "-c", line);
    assertEquals(out.trim().split("\n").length, 3, from);
  }
});

Deno.test("a library planted in the working folder is not loaded", async () => {
  await using scratch = await tempFolder();
  for (const name of ["libc.so.6", "libm.so.6", "libnuma.so.1", "libonnxruntime.so.1"]) {
    await Deno.writeTextFile(`${scratch.path}/${name}`, "not a library");
  }
  const { code, stderr } = await new Deno.Command(executable(), {
    args: ["doctor", "--json", "--root", scratch.path, "--config", "/dev/null"],
    cwd: scratch.path,
  }).output();
  const text = new TextDecoder().decode(stderr);
  assertEquals(
    [code === 0 || code === 1, text.includes("invalid ELF")],
    [true, false],
    text,
  );
});
