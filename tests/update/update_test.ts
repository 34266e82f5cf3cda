import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { RELEASE_NAME, versionProgram, writeRelease } from "../support/release.ts";
import { type Scratch, tempFolder } from "../support/scratch.ts";
import { DifferenceError, InputError, OpError } from "../../lib/base/errors.ts";
import { publicKeyLine } from "../../lib/plugin/minisign/format.ts";
import { generateSecretKey } from "../../lib/plugin/minisign/secret_key.ts";
import { installRelease } from "../../lib/update/install.ts";
import { fetchRelease, isNewer } from "../../lib/update/release.ts";

const OLD = versionProgram("1.0.0");

async function place(scratch: Scratch) {
  const release = `${scratch.path}/release`, bin = `${scratch.path}/bin`;
  await Deno.mkdir(bin);
  await Deno.writeTextFile(`${bin}/op-dbus`, OLD, { mode: 0o755 });
  return { release, bin, path: `${bin}/op-dbus` };
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("an update replaces the file, keeps the previous one, leaves nothing else", async () => {
  await using scratch = await tempFolder();
  const { release, bin, path } = await place(scratch);
  const key = await writeRelease(release, "1.1.0", versionProgram("1.1.0"));
  const source = { url: release, key: publicKeyLine(key) };
  const found = await fetchRelease(source, Deno.build.arch);
  assertEquals([found.version, isNewer(found, "1.0.0"), isNewer(found, "1.1.0")], [
    "1.1.0",
    true,
    false,
  ]);
  const { previous } = await installRelease(found, path);
  assertEquals(names(bin), ["op-dbus", "op-dbus.previous"]);
  assertEquals(await Deno.readTextFile(path), versionProgram("1.1.0"));
  assertEquals(await Deno.readTextFile(previous), OLD);
  assertEquals((await Deno.stat(path)).mode! & 0o777, 0o755);
});

Deno.test("an older release is refused: nobody can show an old one as news", async () => {
  await using scratch = await tempFolder();
  const { release } = await place(scratch);
  const key = await writeRelease(release, "0.9.0", versionProgram("0.9.0"));
  const source = { url: release, key: publicKeyLine(key) };
  const found = await fetchRelease(source, Deno.build.arch);
  await assertRejects(
    () => Promise.resolve().then(() => isNewer(found, "1.0.0")),
    InputError,
  );
});

Deno.test("what is wrong changes nothing", async () => {
  await using scratch = await tempFolder();
  const { release, bin, path } = await place(scratch);
  const file = `${release}/${RELEASE_NAME}`;
  const key = await writeRelease(release, "1.1.0", versionProgram("1.1.0"));
  const source = { url: release, key: publicKeyLine(key) };
  const unchanged = () => {
    assertEquals(names(bin), ["op-dbus"]);
    assertEquals(Deno.readTextFileSync(path), OLD);
  };
  const found = await fetchRelease(source, Deno.build.arch);

  await Deno.writeTextFile(file, "#!/bin/sh\necho OWNED\n");
  await assertRejects(() => installRelease(found, path), DifferenceError, /SHA-256/);
  unchanged();
  await Deno.remove(file);
  await assertRejects(() => installRelease(found, path), OpError);
  unchanged();
  for (const program of [versionProgram("9.9.9"), "#!/bin/sh\nexit 3\n", "no program"]) {
    await writeRelease(release, "1.1.0", program, key);
    const next = await fetchRelease(source, Deno.build.arch);
    await assertRejects(() => installRelease(next, path), Error);
    unchanged();
  }

  const other = { url: release, key: publicKeyLine(generateSecretKey()) };
  await assertRejects(() => fetchRelease(other, Deno.build.arch), DifferenceError);
  await assertRejects(
    () => fetchRelease(source, "riscv64"),
    OpError,
    /no op-dbus-linux-riscv64/,
  );
  const sums = await Deno.readTextFile(`${release}/SHA256SUMS`);
  await Deno.writeTextFile(`${release}/SHA256SUMS`, sums.replace(/^./, "0"));
  await assertRejects(() => fetchRelease(source, Deno.build.arch), DifferenceError);
  await Deno.remove(`${release}/SHA256SUMS.minisig`);
  await assertRejects(
    () => fetchRelease(source, Deno.build.arch),
    OpError,
    /no SHA256SUMS.minisig/,
  );
  assertTrue((await Deno.stat(path)).isFile);
});

Deno.test("an update that is interrupted leaves the old file", async () => {
  await using scratch = await tempFolder();
  const { release, bin, path } = await place(scratch);
  const key = await writeRelease(release, "1.1.0", versionProgram("1.1.0"));
  const source = { url: release, key: publicKeyLine(key) };
  const found = await fetchRelease(source, Deno.build.arch);
  const signal = AbortSignal.abort(new OpError("interrupted", "stopped"));
  await assertRejects(() => installRelease(found, path, { signal }), Error);
  assertEquals(names(bin), ["op-dbus"]);
});
