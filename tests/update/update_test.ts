import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { RELEASE_NAME, versionProgram, writeRelease } from "../support/release.ts";
import { type Scratch, sh, tempFolder } from "../support/scratch.ts";
import { DifferenceError, InputError, OpError } from "../../lib/base/errors.ts";
import { formatSignature, publicKeyLine } from "../../lib/plugin/minisign/format.ts";
import { digestBytes, signDigests } from "../../lib/plugin/minisign/sign.ts";
import { generateSecretKey } from "../../lib/plugin/minisign/secret_key.ts";
import { cliCommand, cliEnvironment } from "../support/cli.ts";
import { workFolder } from "../../lib/update/work_folder.ts";
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
  const says = (text: string) => `#!/bin/sh\necho '${text}'\n`;
  for (
    const [program, why] of [
      [versionProgram("9.9.9"), /it says it is 9\.9\.9/],
      [says("null"), /it tells no version/],
      [says("op-dbus 1.1.0"), /it tells no version/],
      ["#!/bin/sh\nexit 3\n", /status 3/],
      ["no program", /does not start: .*ENOEXEC/],
    ] as const
  ) {
    await writeRelease(release, "1.1.0", program, key);
    const next = await fetchRelease(source, Deno.build.arch);
    await assertRejects(() => installRelease(next, path), OpError, why);
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

Deno.test("an update goes on after one that was killed, and removes what that left", async () => {
  await using scratch = await tempFolder();
  const { release, bin, path } = await place(scratch);
  const key = await writeRelease(release, "1.1.0", versionProgram("1.1.0"));
  const source = { url: release, key: publicKeyLine(key) };
  const found = await fetchRelease(source, Deno.build.arch);
  // Killed before the last step: one file under both names, which rename(2) leaves alone.
  await Deno.link(path, `${path}.previous`);
  await Deno.mkdir(`${bin}/.tmp-7-1-op-dbus`);
  await Deno.writeTextFile(`${bin}/.tmp-7-1-op-dbus/op-dbus.part`, "half");
  // Not of an update, not ours, still held.
  await Deno.mkdir(`${bin}/.tmp-7-1-op-dbus-other`);
  await Deno.symlink(scratch.path, `${bin}/.tmp-7-2-op-dbus`);
  using _held = workFolder(path);
  const kept = names(bin).filter((name) => name !== ".tmp-7-1-op-dbus");
  await installRelease(found, path);
  assertEquals(names(bin), kept);
  assertEquals(await Deno.readTextFile(`${path}.previous`), OLD);
  assertEquals(await Deno.readTextFile(path), versionProgram("1.1.0"));
});

Deno.test("nobody else can come at what an update has verified and is about to start", async () => {
  await using scratch = await tempFolder();
  const { release, bin, path } = await place(scratch);
  // The program looks at its own folder, and says so where nobody may see it.
  const program = `#!/bin/sh
[ "$(stat -c %a "\${0%/*}")" = 700 ] && echo '{"version":"1.1.0"}'
`;
  const key = await writeRelease(release, "1.1.0", program);
  const source = { url: release, key: publicKeyLine(key) };
  await installRelease(await fetchRelease(source, Deno.build.arch), path);
  assertEquals(names(bin), ["op-dbus", "op-dbus.previous"]);
});

Deno.test("where no second name can be given to the old file it is copied", async () => {
  await using scratch = await tempFolder();
  const { release, path } = await place(scratch);
  const key = await writeRelease(release, "99.0.0", versionProgram("99.0.0"));
  const [program, ...before] = cliCommand();
  // strace(1) answers as a file system without links does.
  const { code, stderr } = await new Deno.Command("strace", {
    args: [
      ...["-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat"],
      ...["-e", "inject=linkat:error=EPERM", program!, ...before],
      ...["self", "update", "--from", release, "--key", publicKeyLine(key)],
    ],
    env: { ...cliEnvironment(), OPDBUS_EXE: path },
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  assertEquals(await Deno.readTextFile(`${path}.previous`), OLD);
  assertEquals((await Deno.stat(`${path}.previous`)).mode! & 0o777, 0o755);
});

Deno.test("an update that is interrupted while the new file starts leaves the old one", async () => {
  await using scratch = await tempFolder();
  const { release, bin, path } = await place(scratch);
  const pipe = `${scratch.path}/pipe`;
  await sh("mkfifo", pipe);
  const program = `#!/bin/sh\nread -r _ <'${pipe}'\necho '{"version":"1.1.0"}'\n`;
  const key = await writeRelease(release, "1.1.0", program);
  const found = await fetchRelease(
    { url: release, key: publicKeyLine(key) },
    Deno.build.arch,
  );
  const stop = new AbortController();
  const ended = assertRejects(
    () => installRelease(found, path, { signal: stop.signal }),
    OpError,
    /stopped/,
  );
  // Opens once the program reads: it runs, and has not answered.
  using gate = await Deno.open(pipe, { write: true });
  stop.abort(new OpError("interrupted", "stopped"));
  await gate.write(new TextEncoder().encode("go\n"));
  await ended;
  assertEquals(names(bin), ["op-dbus"]);
});

Deno.test("what the release key has signed for another purpose is no release", async () => {
  await using scratch = await tempFolder();
  const { release } = await place(scratch);
  const key = await writeRelease(release, "1.1.0", versionProgram("1.1.0"));
  const digests = digestBytes(await Deno.readFile(`${release}/SHA256SUMS`));
  for (
    const comment of ["file:notes\tversion:1.1.0", "file:SHA256SUMS", "version:1.1.0"]
  ) {
    const signature = formatSignature(
      signDigests(digests, key, `timestamp:1\t${comment}`),
    );
    await Deno.writeTextFile(`${release}/SHA256SUMS.minisig`, signature);
    await assertRejects(
      () => fetchRelease({ url: release, key: publicKeyLine(key) }, Deno.build.arch),
      OpError,
      /what is signed is no release/,
    );
  }
});
