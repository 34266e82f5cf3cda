/** What the self-extracting header does on a good day, in roots with nothing but libc. */
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { type BareRoot, rootTest } from "./bare_root.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { unpackedIn, withSmallExecutable } from "./executable.ts";

/** A user that has no entry in /etc/passwd. */
const NOBODY = 54321;

for (const shell of ["debian", "busybox"] as const) {
  rootTest(
    `header on ${shell}: first run unpacks, later runs do not`,
    shell,
    async (root) => {
      await withSmallExecutable(root);
      const first = await root.run(["/op-dbus", "version"]);
      assertEquals([first.code, first.stderr], [0, ""]);
      assertIncludes(first.stdout, "ran as 0 with version");
      const folder = unpackedIn(root, "/var/cache/op-dbus");
      const before = Deno.statSync(`${folder}/op-dbus`).ino;
      const again = await root.run(["/op-dbus", "version"], {
        env: { OPDBUS_RUNTIME_VERIFY: "1" },
      });
      assertEquals(again.code, 0);
      assertEquals(Deno.statSync(`${folder}/op-dbus`).ino, before);
    },
  );

  rootTest(
    `header on ${shell}: a user without passwd entry or environment`,
    shell,
    async (root) => {
      await withSmallExecutable(root);
      const { code, stdout, stderr } = await root.run(["/op-dbus", "x"], { uid: NOBODY });
      assertEquals([code, stderr], [0, ""]);
      assertIncludes(stdout, `ran as ${NOBODY} with x`);
      unpackedIn(root, `/tmp/op-dbus-${NOBODY}`);
    },
  );
}

rootTest("header: what root unpacked serves every user", "debian", async (root) => {
  await withSmallExecutable(root);
  assertEquals((await root.run(["/op-dbus", "x"])).code, 0);
  const { stdout } = await root.run(["/op-dbus", "x"], { uid: NOBODY });
  assertIncludes(stdout, "DENO_DIR=/var/cache/op-dbus/");
});

rootTest(
  "header: arguments, status and environment come through",
  "debian",
  async (root) => {
    await withSmallExecutable(
      root,
      '#!/bin/sh\n[ "$1" != --version ] || exit 0\n' +
        'while [ "$1" != "${1%.js}" ] || [ "${1#-}" != "$1" ] || [ "$1" = run ]; do\n' +
        '  last=$1; shift; [ "${last%.js}" = "$last" ] || break\ndone\n' +
        'for word; do echo "<$word>"; done\necho "$TWO_LINES|$LC_ALL|$PATH"\nexit 7\n',
    );
    const env = {
      TWO_LINES: "a\nexport DENO_X='1",
      LC_ALL: "C.UTF-8",
      PATH: "/own path:/bin",
    };
    const words = ["two words", "", "--", "-v", "$HOME", "new\nline", "'\"*"];
    const { code, stdout } = await root.run(["/op-dbus", ...words], { env });
    assertEquals(code, 7);
    assertEquals(
      stdout,
      words.map((word) => `<${word}>\n`).join("") +
        "a\nexport DENO_X='1|C.UTF-8|/own path:/bin\n",
    );
  },
);

Deno.test("header: shellcheck finds nothing in it", async () => {
  await using scratch = await tempFolder();
  await withSmallExecutable(scratch);
  const file = await Deno.readFile(`${scratch.path}/op-dbus`);
  const text = new TextDecoder("latin1").decode(file);
  const header = text.slice(0, text.indexOf("\n}\n", text.indexOf('die "no place')) + 3);
  await Deno.writeTextFile(`${scratch.path}/header.sh`, header);
  const { stdout } = await new Deno.Command("shellcheck", {
    args: ["-s", "sh", `${scratch.path}/header.sh`],
  }).output();
  assertEquals(new TextDecoder().decode(stdout), "");
});

rootTest("header: cron's environment", "debian", async (root) => {
  await withSmallExecutable(root);
  const env = { HOME: "/root", LOGNAME: "root", SHELL: "/bin/sh", PATH: "/usr/bin:/bin" };
  assertEquals((await root.run(["/bin/sh", "-c", "/op-dbus x"], { env })).code, 0);
});

rootTest(
  "header: found on PATH, by a relative path, through a link",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    await Deno.rename(`${root.path}/op-dbus`, `${root.path}/bin/op-dbus`);
    await Deno.symlink("/bin/op-dbus", `${root.path}/tmp/link`);
    for (
      const line of [
        "PATH=/bin op-dbus x",
        "cd /bin && ./op-dbus x",
        "cd /bin && sh op-dbus x",
        "/tmp/link x",
      ]
    ) {
      const { code, stdout, stderr } = await root.run(["/bin/sh", "-c", line]);
      assertEquals([code, stderr], [0, ""], line);
      assertIncludes(stdout, "OPDBUS_EXE=/");
    }
  },
);

rootTest(
  "header: the runtime's switches in the environment are dropped",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const env = {
      DENO_DIR: "/tmp/evil",
      DENO_V8_FLAGS: "--evil",
      DENO_NO_PROMPT: "0",
      NODE_OPTIONS: "--require=/tmp/evil.js",
      OTEL_DENO: "true",
      COMPLETE: "bash",
      DENO_CERT: "/etc/company.pem",
      DENO_TLS_CA_STORE: "system",
      NODE_EXTRA_CA_CERTS: "/etc/company.pem",
      KEPT: "yes",
    };
    const { stdout } = await root.run(["/op-dbus", "x"], { env });
    const seen = new Set(stdout.split("\n"));
    for (const [name, value] of Object.entries(env)) {
      const kept = /^KEPT$|CERT|CA_STORE/.test(name);
      assertEquals(seen.has(`${name}=${value}`), kept, name);
    }
  },
);

rootTest(
  "header: how the caller wants ls(1) and the like to speak",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const env = {
      BLOCK_SIZE: "human-readable",
      LS_BLOCK_SIZE: "1M",
      QUOTING_STYLE: "shell-always",
      TIME_STYLE: "+%s\n%s",
      POSIXLY_CORRECT: "1",
      _POSIX2_VERSION: "199209",
      GREP_OPTIONS: "-v",
    };
    for (const run of ["first", "second"]) {
      const { code, stdout, stderr } = await root.run(["/op-dbus", "x"], { env });
      assertEquals([code, stderr], [0, ""], run);
      const seen = stdout.split("\n");
      assertTrue(seen.includes("LS_BLOCK_SIZE=1M"), run);
    }
  },
);

rootTest("header: several first runs at once all succeed", "debian", async (root) => {
  await withSmallExecutable(root);
  const runs = await Promise.all(
    Array.from({ length: 8 }, () => root.run(["/op-dbus", "x"], { uid: NOBODY })),
  );
  for (const { code, stderr } of runs) assertEquals([code, stderr], [0, ""]);
  assertEquals(leftovers(root, `/tmp/op-dbus-${NOBODY}`), []);
});

rootTest(
  "header: what killed runs and old versions left is removed",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const base = `${root.path}/var/cache/op-dbus`;
    const others = ["sixteen-letters-", "fedcba9876543210", ".new.is-mine"];
    const old = ["0123456789abcdef", ".new.killed", ...others];
    const longAgo = new Date("2020-01-01");
    for (const name of [...old, ".new.runnin"]) {
      await Deno.mkdir(`${base}/${name}`, { recursive: true });
    }
    await Deno.writeTextFile(`${base}/0123456789abcdef/op-dbus`, "");
    for (const name of old) await Deno.utime(`${base}/${name}`, longAgo, longAgo);
    assertEquals((await root.run(["/op-dbus", "x"])).code, 0);
    const names = [...Deno.readDirSync(base)].map(({ name }) => name).sort();
    const made = unpackedOf(names, [...old, ".new.runnin"]);
    assertEquals(made.length, 1);
    assertEquals(names, [".new.runnin", ...others, ...made].sort());
  },
);

rootTest(
  "header: an old version that still runs keeps its files",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const base = `${root.path}/var/cache/op-dbus`;
    const longAgo = new Date("2020-01-01");
    const folders = ["0123456789abcdef", "fedcba9876543210"].map((id) => `${base}/${id}`);
    for (const folder of folders) {
      await Deno.mkdir(folder, { recursive: true });
      await Deno.copyFile("/bin/cat", `${folder}/op-dbus`);
      await Deno.utime(folder, longAgo, longAgo);
    }
    const [running = "", unused = ""] = folders;
    const child = new Deno.Command(`${running}/op-dbus`, {
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const writer = child.stdin.getWriter(), reader = child.stdout.getReader();
    await writer.write(new Uint8Array(1));
    await reader.read(); // it runs
    assertEquals((await root.run(["/op-dbus", "x"])).code, 0);
    assertTrue((await Deno.stat(`${running}/op-dbus`)).isFile);
    assertEquals(await Deno.stat(unused).catch(() => null), null);
    await writer.close();
    await reader.cancel();
    await child.status;
  },
);

rootTest("header: the first run, too, has the caller's umask", "debian", async (root) => {
  const runtime = '#!/bin/sh\n[ "$1" != --version ] || exit 0\numask\n';
  await withSmallExecutable(root, runtime);
  for (const run of ["first", "second"]) {
    const script = "umask 013 && exec /op-dbus x";
    const { stdout } = await root.run(["/bin/sh", "-c", script]);
    assertEquals(stdout, "0013\n", run);
  }
});

rootTest(
  "header: root's is for all to read, a user's for nobody else",
  "debian",
  async (root) => {
    await withSmallExecutable(root);
    const modes = (base: string) => {
      const folder = unpackedIn(root, base);
      const parts = ["", "/op-dbus", "/app", "/app/main.js", "/app/asset"];
      return [root.path + base, ...parts.map((part) => folder + part)]
        .map((path) => (Deno.lstatSync(path).mode! & 0o777).toString(8));
    };
    assertEquals((await root.run(["/op-dbus", "x"], { uid: NOBODY })).code, 0);
    assertEquals(
      modes(`/tmp/op-dbus-${NOBODY}`),
      ["700", "700", "700", "700", "600", "600"],
    );
    assertEquals((await root.run(["/op-dbus", "x"])).code, 0);
    assertEquals(modes("/var/cache/op-dbus"), ["755", "755", "755", "755", "644", "644"]);
  },
);

rootTest("header: without HOME, that of /etc/passwd", "debian", async (root) => {
  await withSmallExecutable(root);
  await Deno.writeTextFile(
    `${root.path}/etc/passwd`,
    `ada:x:${NOBODY}:${NOBODY}:Ada:/home/ada:/bin/sh\n`,
  );
  await Deno.mkdir(`${root.path}/home/ada`, { recursive: true });
  await Deno.chown(`${root.path}/home/ada`, NOBODY, NOBODY);
  assertEquals((await root.run(["/op-dbus", "x"], { uid: NOBODY })).code, 0);
  unpackedIn(root, "/home/ada/.cache/op-dbus");
});

rootTest(
  "header: stopped while it unpacks, it leaves nothing",
  "debian",
  async (root) => {
    const started = `${root.path}/started`, gate = `${root.path}/gate`;
    await sh("mkfifo", "-m", "666", started, gate);
    await withSmallExecutable(
      root,
      `#!/bin/sh\n[ "$1" = --version ] || exit 0\n` +
        `echo yes >'${started}'\nread -r _ <'${gate}'\n`,
    );
    const base = `${root.path}/tmp/base`;
    // Outside of the root, whose programs' numbers are not known; each exec keeps this one.
    const child = new Deno.Command("setpriv", {
      args: [
        ...[`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"],
        ...[`${root.path}/op-dbus`, "x"],
      ],
      clearEnv: true,
      env: { OPDBUS_RUNTIME_DIR: base, PATH: "/usr/bin:/bin" },
      stdin: "null",
    }).spawn();
    await Deno.readTextFile(started);
    assertEquals(leftovers(root, "/tmp/base").length, 1);
    child.kill("SIGTERM");
    await Deno.writeTextFile(gate, "go\n", { create: false });
    assertEquals((await child.status).code, 143);
    assertEquals([...Deno.readDirSync(base)], []);
  },
);

/** Names that were not there before. */
function unpackedOf(names: string[], before: string[]): string[] {
  return names.filter((name) => !before.includes(name));
}

function leftovers(root: BareRoot, folder: string): string[] {
  return [...Deno.readDirSync(root.path + folder)].map(({ name }) => name)
    .filter((name) => name.startsWith(".new."));
}
