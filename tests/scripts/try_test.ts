import { assertEquals, assertIncludes } from "../support/assert.ts";
import { platformTest, tempFolder } from "../support/scratch.ts";

const TRY = new URL("../../scripts/try", import.meta.url).pathname;

async function run(program: string, ...args: string[]) {
  await using folder = await tempFolder();
  const out = await new Deno.Command(program, {
    args,
    env: { TMPDIR: folder.path },
    stdin: "null",
  }).output();
  assertEquals([...Deno.readDirSync(folder.path)], [], "something was left behind");
  const text = new TextDecoder();
  return {
    code: out.code,
    all: text.decode(out.stdout) + text.decode(out.stderr),
  };
}

Deno.test("scripts/try.json has the versions of deno.json", async () => {
  const read = async (name: string) => {
    const url = new URL(`../../${name}`, import.meta.url);
    return JSON.parse(await Deno.readTextFile(url)).imports as Record<string, string>;
  };
  const all = await read("deno.json");
  for (const [name, version] of Object.entries(await read("scripts/try.json"))) {
    assertEquals(version, all[name]);
  }
});

platformTest(
  "scripts/try: hits the second time, a snapshot, nothing left behind",
  async () => {
    const { code, all } = await run(TRY);
    assertEquals(code, 0, all);
    assertIncludes(all, "298 texts: 28 hits, 270 misses");
    assertIncludes(all, "298 texts: 298 hits, 0 misses");
    assertIncludes(all, /On disk the cache takes [1-9]\d* KiB/);
    assertIncludes(all, /Created \S+\/@cache-snapshots\/cache@/);
    assertEquals(
      (await Deno.readTextFile("/proc/self/mounts")).includes("op-dbus-try"),
      false,
    );
  },
);

platformTest(
  "scripts/try: where mounting is not allowed, a plain folder and why",
  async () => {
    const { code, all } = await run("setpriv", "--bounding-set=-sys_admin", TRY);
    assertEquals(code, 0, all);
    assertIncludes(all, "Working on a plain folder, because this is missing: ");
    assertIncludes(all, "298 texts: 298 hits, 0 misses");
    assertIncludes(all, /On disk the cache takes [1-9]\d* KiB/);
    assertIncludes(all, "No snapshot: it needs btrfs");
  },
);
