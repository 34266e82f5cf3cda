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

/** Files of these names that a program has tried to open in its working folder. */
async function triedIn(folder: string, names: readonly string[], args: string[]) {
  const log = `${folder}/trace`;
  const { code, stderr } = await new Deno.Command("strace", {
    args: ["-f", "-qq", "-e", "trace=open,openat,openat2", "-o", log, ...args],
    cwd: folder,
  }).output();
  const trace = await Deno.readTextFile(log);
  const found = names.filter((name) =>
    [name, `./${name}`, `${folder}/${name}`].some((path) => trace.includes(`"${path}"`))
  );
  return { code, found, stderr: new TextDecoder().decode(stderr) };
}

Deno.test("a library planted in the working folder is not even looked at", async () => {
  await using scratch = await tempFolder();
  const folder = await Deno.realPath(scratch.path);
  const names = ["libc.so.6", "libm.so.6", "libnuma.so.1", "libonnxruntime.so.1"];
  for (const name of names) {
    await Deno.writeTextFile(`${folder}/${name}`, "not a library");
  }
  // One that does look there is seen.
  const env = ["/usr/bin/env", "LD_LIBRARY_PATH=.", "/bin/true"];
  assertEquals((await triedIn(folder, names, env)).found, ["libc.so.6"]);
  const doctor = ["doctor", "--json", "--root", folder, "--config", "/dev/null"];
  const { code, found, stderr } = await triedIn(folder, names, [executable(), ...doctor]);
  assertEquals(found, []);
  assertEquals(code === 0 || code === 1, true, stderr);
});
