/** The self-extracting header among enemies and on bad disks. */
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { type BareRoot, rootTest } from "./bare_root.ts";
import { unpackedIn, withSmallExecutable } from "./executable.ts";

const USER = 54321, ENEMY = 1234;
/** What a runtime's folder must hold, and who owns each counts. */
const PARTS = ["op-dbus", "app", "app/main.js"];
/** Exit code of "could not be started". */
const NOT_STARTED = 125;

/** A folder as an enemy would prepare it: complete, right sizes, a program of his own. */
async function plant(root: BareRoot, base: string, id: string, owner: number) {
  const folder = `${root.path}${base}/${id}`;
  await Deno.mkdir(`${folder}/app`, { recursive: true });
  const header = (await Deno.readTextFile(`${root.path}/op-dbus`)).slice(0, 4096);
  for (
    const [name, start] of [["op-dbus", "#!/bin/sh\necho OWNED\nexit\n"], [
      "app/main.js",
      "",
    ]]
  ) {
    const size = header.match(new RegExp(`${name} (\\d+) [0-9a-f]{64}`))![1];
    await Deno.writeTextFile(`${folder}/${name}`, start!.padEnd(Number(size), "#"));
  }
  await Deno.chmod(`${folder}/op-dbus`, 0o755);
  for (
    const path of [
      root.path + base,
      ...PARTS.map((part) => `${folder}/${part}`),
      folder,
    ]
  ) {
    await Deno.chown(path, owner, owner);
  }
}

async function idOf(root: BareRoot): Promise<string> {
  const header = (await Deno.readTextFile(`${root.path}/op-dbus`)).slice(0, 4096);
  return header.match(/ id=([0-9a-f]{16}) /)![1]!;
}

rootTest(
  "header: a folder that somebody else prepared is not used",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const id = await idOf(root);
    for (const base of ["/tmp", "/var/tmp"]) {
      await plant(
        root,
        `${base}/op-dbus-${USER}`,
        id,
        ENEMY,
      );
    }
    const { code, stdout, stderr } = await root.run(["/op-dbus", "x"], { uid: USER });
    assertEquals([code, stdout], [NOT_STARTED, ""]);
    assertIncludes(stderr, "not yours");
    assertIncludes(stderr, "Set OPDBUS_RUNTIME_DIR");
  },
);

rootTest(
  "header: a planted link, file or writable folder is not followed",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const id = await idOf(root), base = `${root.path}/tmp/op-dbus-${USER}`;
    await plant(root, "/tmp/stage", id, USER);
    await Deno.symlink("/tmp/stage", base);
    const linked = await root.run(["/op-dbus", "x"], { uid: USER });
    assertTrue(!linked.stdout.includes("OWNED"));
    await Deno.remove(base);

    // Its own folder, but others may write to it, or to one in it.
    await plant(root, `/tmp/op-dbus-${USER}`, id, USER);
    for (const place of [base, `${base}/${id}`, `${base}/${id}/app`]) {
      const { mode } = await Deno.stat(place);
      for (const open of [0o720, 0o702]) {
        await Deno.chmod(place, open);
        const writable = await root.run(["/op-dbus", "x"], { uid: USER });
        assertEquals(writable.code, 0, writable.stderr);
        assertTrue(!writable.stdout.includes("OWNED"), `${place} ${open.toString(8)}`);
        await Deno.chmod(place, mode! & 0o777);
        await plant(root, `/tmp/op-dbus-${USER}`, id, USER);
      }
    }

    // A link inside, to a program of somebody else.
    await Deno.remove(`${base}/${id}/op-dbus`);
    await Deno.symlink("/tmp/stage/x", `${base}/${id}/op-dbus`);
    const inside = await root.run(["/op-dbus", "x"], { uid: USER });
    assertTrue(!inside.stdout.includes("OWNED"));
    assertEquals(inside.code, 0, inside.stderr);
  },
);

rootTest(
  "header: a folder below one that others can rename is not used",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const shared = `${root.path}/shared`, deep = `${shared}/mine/deep`;
    await Deno.mkdir(deep, { recursive: true });
    for (const path of [`${shared}/mine`, deep]) await Deno.chown(path, USER, USER);
    const env = { OPDBUS_RUNTIME_DIR: "/shared/mine/deep/op-dbus" };
    // Owner, group, mode of /shared, and whether it is fit.
    const cases: [number, number, number, boolean][] = [
      [0, 0, 0o777, false],
      [0, 0, 0o707, false],
      [0, 0, 0o775, false],
      [ENEMY, ENEMY, 0o755, false],
      [USER, USER, 0o775, true],
      [0, 0, 0o1777, true],
      [0, 0, 0o755, true],
    ];
    for (const [owner, group, mode, fit] of cases) {
      await Deno.chown(shared, owner, group);
      await Deno.chmod(shared, mode);
      const { code } = await root.run(["/op-dbus", "x"], { uid: USER, env });
      assertEquals(code, 0);
      const used = [...Deno.readDirSync(deep)].map(({ name }) => name);
      assertEquals(used, fit ? ["op-dbus"] : [], `${owner}:${group} ${mode.toString(8)}`);
      const place = fit ? `${deep}/op-dbus` : `${root.path}/tmp/op-dbus-${USER}`;
      await Deno.remove(place, { recursive: true });
    }
  },
);

rootTest("header: a relative path is no place to run from", "debian", async (root) => {
  await withSmallExecutable(root);
  const id = await idOf(root);
  await Deno.mkdir(`${root.path}/work`);
  for (const base of ["planted", `tmp/op-dbus-${USER}`, "cache/op-dbus"]) {
    await plant(root, `/work/${base}`, id, USER);
  }
  const env = { OPDBUS_RUNTIME_DIR: "planted", TMPDIR: "tmp", XDG_CACHE_HOME: "cache" };
  const script = "cd /work && exec /op-dbus x";
  const { code, stdout } = await root.run(["/bin/sh", "-c", script], { uid: USER, env });
  assertEquals(code, 0);
  assertIncludes(stdout, `DENO_DIR=/var/tmp/op-dbus-${USER}/`);
});

rootTest("header: root asks no environment where to unpack", "debian", async (root) => {
  await withSmallExecutable(root);
  const id = await idOf(root);
  await plant(root, "/tmp/evil/op-dbus", id, ENEMY);
  const env = {
    OPDBUS_RUNTIME_DIR: "/tmp/evil/op-dbus",
    XDG_CACHE_HOME: "/tmp/evil",
    HOME: "/tmp/evil",
    TMPDIR: "/tmp/evil",
    PATH: "/tmp/evil",
    IFS: "/",
    ENV: "/tmp/evil/op-dbus",
    GZIP: "--help",
  };
  const { code, stdout } = await root.run(["/op-dbus", "x"], { env });
  assertEquals(code, 0);
  assertIncludes(stdout, "DENO_DIR=/var/cache/op-dbus/");
});

rootTest(
  "header: noexec, read-only, full: the next place; none left: each with its reason",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    await Deno.mkdir(`${root.path}/home/.cache`, { recursive: true });
    const env = { HOME: "/home" };
    const home =
      'mount -t tmpfs -o mode=755,uid="$U" none "$R/home"; mkdir "$R/home/.cache"; chown "$U" "$R/home/.cache"; ';
    const cases: [string, string][] = [
      [`${home} mount -o remount,noexec "$R/home"`, "noexec"],
      [`${home} mount -o remount,ro "$R/home"`, "cannot create"],
      [
        `${home} head -c 100000000 /dev/zero >"$R/home/full" 2>/dev/null || :; `,
        "disk full",
      ],
    ];
    const small = (text: string) => text.replace("mode=755", "mode=755,size=64k");
    const noTmp = 'for d in tmp var/tmp; do mount -t tmpfs -o ro none "$R/$d"; done';
    for (const [prepare, reason] of cases) {
      const elsewhere = await root.run(["/op-dbus", "x"], {
        uid: USER,
        env,
        prepare: small(prepare),
      });
      assertEquals(elsewhere.code, 0, elsewhere.stderr);
      assertIncludes(elsewhere.stdout, `DENO_DIR=/tmp/op-dbus-${USER}/`);
      const nowhere = await root.run(["/op-dbus", "x"], {
        uid: USER,
        env,
        prepare: `${small(prepare)}\n${noTmp}`,
      });
      assertEquals([nowhere.code, nowhere.stdout], [NOT_STARTED, ""], reason);
      assertIncludes(nowhere.stderr, reason);
    }
  },
);

rootTest("header: an argument is no place to unpack to", "debian", async (root) => {
  await withSmallExecutable(root);
  const data = `${root.path}/srv/data`, longAgo = new Date("2020-01-01");
  for (const name of ["home", "srv/data/sixteen-letters-"]) {
    await Deno.mkdir(`${root.path}/${name}`, { recursive: true });
  }
  await Deno.utime(`${data}/sixteen-letters-`, longAgo, longAgo);
  await Deno.chown(data, USER, USER);
  await Deno.chown(`${data}/sixteen-letters-`, USER, USER);
  // Whatever is unpacked cannot be started, and no other place is left.
  const prepare = "for d in home tmp var/tmp; do " +
    'mount -t tmpfs -o mode=1777,noexec none "$R/$d"; done';
  const options = { uid: USER, env: { HOME: "/home" }, prepare };
  const { code } = await root.run(["/op-dbus", "--root", "/srv/data"], options);
  assertEquals(code, NOT_STARTED);
  assertEquals([...Deno.readDirSync(data)].map(({ name }) => name), ["sixteen-letters-"]);
});

rootTest("header: a cut file never exits 0 and never runs", "debian", async (root) => {
  await withSmallExecutable(root);
  const whole = await Deno.readFile(`${root.path}/op-dbus`);
  const text = new TextDecoder("latin1").decode(whole);
  const headerEnd = text.indexOf("\n}\n", text.indexOf('die "no place')) + 3;
  assertTrue(headerEnd > 1000);
  const cuts = [headerEnd, headerEnd + 1, whole.length - 1];
  // 97 is no divisor of any line length here: the cuts fall everywhere.
  for (let at = 0; at < headerEnd; at += 97) cuts.push(at);
  await Deno.mkdir(`${root.path}/cut`);
  for (const at of cuts) {
    await Deno.writeFile(`${root.path}/cut/${at}`, whole.subarray(0, at), {
      mode: 0o755,
    });
  }
  // One process for all: sh, because execve refuses an empty file.
  const script =
    'cd /cut; for f in *; do out=$(sh "./$f" x 2>/dev/null); echo "$f $? $out"; done';
  const { stdout } = await root.run(["/bin/sh", "-c", script]);
  const lines = stdout.trim().split("\n");
  assertEquals(lines.length, cuts.length);
  const { stderr } = await root.run(["/bin/sh", `/cut/${whole.length - 1}`, "x"]);
  assertIncludes(stderr, "incomplete download");
  for (const line of lines) {
    const [at, status, ...out] = line.split(" ");
    assertEquals(out.join(""), "", `cut at ${at} printed`);
    // What ends inside the first lines, which are comments, is an empty program.
    if (Number(at) > "#!/bin/sh\n".length) {
      assertTrue(status !== "0", `cut at ${at} exits 0`);
    }
  }
});

rootTest(
  "header: a flipped byte anywhere in the data is found before it runs",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const whole = await Deno.readFile(`${root.path}/op-dbus`);
    const text = new TextDecoder("latin1").decode(whole);
    const data = text.indexOf("\n}\n", text.indexOf('die "no place')) + 3;
    for (let at = data; at < whole.length; at += 13) {
      const damaged = whole.slice();
      damaged[at]! ^= 0x20;
      await Deno.writeFile(`${root.path}/op-dbus`, damaged);
      const { code, stdout, stderr } = await root.run(["/op-dbus", "x"]);
      // Some bits of a gzip header mean nothing (its time, its system): those may run.
      if (code === 0) {
        assertIncludes(stdout, "ran as 0");
        await Deno.remove(`${root.path}/var/cache/op-dbus`, { recursive: true });
      } else {
        assertEquals([code, stdout], [NOT_STARTED, ""], `byte ${at}`);
        assertIncludes(stderr, /SHA-256|cannot write/);
      }
    }
  },
);

rootTest(
  "header: data that do not have the digest in its table do not run",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const whole = await Deno.readFile(`${root.path}/op-dbus`);
    const text = new TextDecoder("latin1").decode(whole);
    const digit = text.search(/[0-9a-f]{64}'/);
    whole[digit] = whole[digit] === 0x30 ? 0x31 : 0x30;
    await Deno.writeFile(`${root.path}/op-dbus`, whole);
    const { code, stdout, stderr } = await root.run(["/op-dbus", "x"]);
    assertEquals([code, stdout], [NOT_STARTED, ""]);
    assertIncludes(stderr, "SHA-256");
  },
);

rootTest(
  "header: unpacked files that a power cut emptied are unpacked again",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    assertEquals((await root.run(["/op-dbus", "x"])).code, 0);
    const folder = unpackedIn(root, "/var/cache/op-dbus");
    for (const name of ["op-dbus", "app/main.js"]) {
      await Deno.truncate(`${folder}/${name}`);
      const { code, stdout } = await root.run(["/op-dbus", "x"]);
      assertEquals(code, 0);
      assertIncludes(stdout, "ran as 0");
      assertTrue(Deno.statSync(`${folder}/${name}`).size > 0);
    }
    // The same size, other bytes: found when asked for.
    await Deno.writeTextFile(`${folder}/app/main.js`, "// NOTHING\n");
    const env = { OPDBUS_RUNTIME_VERIFY: "1" };
    assertEquals((await root.run(["/op-dbus", "x"], { env })).code, 0);
    assertEquals(await Deno.readTextFile(`${folder}/app/main.js`), "// nothing\n");
  },
);

rootTest(
  "header: a runtime that does not start says what it needs",
  "debian",
  async (root) => {
    await withSmallExecutable(root, "#!/bin/sh\nexit 1\n");
    const { code, stderr } = await root.run(["/op-dbus", "x"]);
    assertEquals(code, NOT_STARTED);
    assertIncludes(stderr, "glibc 2.27");
  },
);

rootTest("header: on another processor it says so", "debian", async (root) => {
  const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
  await withSmallExecutable(root, "\x7fELF not of this machine\n", other);
  const { code, stdout, stderr } = await root.run(["/op-dbus", "version"]);
  assertEquals([code, stdout], [NOT_STARTED, ""]);
  assertIncludes(
    stderr,
    `this file is for ${other} and this machine is ${Deno.build.arch}`,
  );
});
