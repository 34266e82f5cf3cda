/** install.sh against a local server, with good, wrong and hostile releases. */
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { formatSignature, publicKeyLine } from "../../lib/plugin/minisign/format.ts";
import { digestBytes, signDigests } from "../../lib/plugin/minisign/sign.ts";
import {
  generateSecretKey,
  type SecretKey,
} from "../../lib/plugin/minisign/secret_key.ts";
import { signSums } from "../../scripts/release/publish.ts";

const INSTALLER = new URL("../../scripts/install.sh", import.meta.url).pathname;
const NAME = `op-dbus-linux-${Deno.build.arch}`;
/** Says how it was called: installing must work before there is a real one to install. */
const PROGRAM = (version: string) =>
  `#!/bin/sh\necho "op-dbus ${version} $*"\n[ "$1" != plugin ] || echo "$*" >>"$0.plugins"\n`;

/** A release on a local server. */
class Release implements AsyncDisposable {
  readonly key: SecretKey = generateSecretKey();
  /** Paths asked for. */
  readonly asked: string[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  private constructor(readonly folder: string) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => this.answer(new URL(request.url).pathname.slice(1)),
    );
  }

  static async make(folder: string, version = "1.0.0"): Promise<Release> {
    await Deno.mkdir(folder, { recursive: true });
    const release = new Release(folder);
    await release.publish(version);
    return release;
  }

  /** Writes and signs a version. */
  async publish(version: string, program = PROGRAM(version), key = this.key) {
    await Deno.writeTextFile(`${this.folder}/${NAME}`, program);
    const sum = (await sh("sha256sum", `${this.folder}/${NAME}`)).split(" ")[0];
    await Deno.writeTextFile(`${this.folder}/SHA256SUMS`, `${sum}  ${NAME}\n`);
    await signSums(this.folder, version, key);
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async answer(name: string): Promise<Response> {
    this.asked.push(name);
    try {
      return new Response(await Deno.readFile(`${this.folder}/${name}`));
    } catch {
      return new Response("no such file", { status: 404 });
    }
  }

  async [Symbol.asyncDispose]() {
    await this.#server.shutdown();
  }
}

/**
 * A stand-in of the folder that the executable unpacks itself into, for uninstalling takes
 * that away: root's is not under HOME. Last on standard output stands what is left of it.
 */
const STAGE = Deno.uid() === 0
  ? ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /var/cache && cd /var/cache"]
  : ["sh", "-c", 'mkdir -p "$HOME/.cache" && cd "$HOME/.cache"'];
STAGE[STAGE.length - 1] +=
  ' && mkdir -p op-dbus && sh -s -- "$@"; code=$?; ls; exit $code';

/** Runs install.sh from standard input, as `curl | sh` does. */
async function install(
  args: string[],
  { path = Deno.env.get("PATH")!, script = INSTALLER } = {},
) {
  await using home = await tempFolder();
  const child = new Deno.Command("setsid", {
    args: ["-w", ...STAGE, "sh", ...args],
    clearEnv: true,
    env: { PATH: path, HOME: home.path },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(await Deno.readFile(script));
  await writer.close().catch(() => {/* it ended before it had read all */});
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

function flags(release: Release, prefix: string): string[] {
  return ["--url", release.url, "--key", publicKeyLine(release.key), "--prefix", prefix];
}

/** A PATH with everything of the host's but some programs. */
async function pathWithout(folder: string, hidden: string[]): Promise<string> {
  await Deno.mkdir(folder);
  for (const place of ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"]) {
    for (const { name } of Deno.readDirSync(place)) {
      if (hidden.includes(name)) continue;
      await Deno.symlink(`${place}/${name}`, `${folder}/${name}`).catch(
        () => {/* two */},
      );
    }
  }
  return folder;
}

for (
  const [tools, hidden] of [["curl, minisign", []], ["wget, openssl", [
    "curl",
    "minisign",
  ]]] as const
) {
  Deno.test(`install.sh with ${tools}: install, upgrade, plugins, uninstall`, async () => {
    await using scratch = await tempFolder();
    const prefix = `${scratch.path}/prefix`, bin = `${prefix}/bin/op-dbus`;
    const path = await pathWithout(`${scratch.path}/path`, [...hidden]);
    await using release = await Release.make(`${scratch.path}/release`);

    const first = await install(flags(release, prefix), { path });
    assertEquals([first.code, first.stderr], [0, ""]);
    assertIncludes(await sh(bin, "version"), "op-dbus 1.0.0");
    assertIncludes(
      await Deno.readTextFile(`${prefix}/share/bash-completion/completions/op-dbus`),
      "completions bash",
    );

    await release.publish("1.1.0");
    const args = [...flags(release, prefix), "--yes", "lxc@1.2.0", "net@^1.0"];
    const second = await install(args, { path });
    assertEquals([second.code, second.stderr], [0, ""]);
    assertIncludes(second.stdout, /\nop-dbus\n$/);
    assertIncludes(await sh(bin, "version"), "op-dbus 1.1.0");
    assertIncludes(await sh(`${bin}.previous`, "version"), "op-dbus 1.0.0");
    assertEquals(
      await Deno.readTextFile(`${bin}.plugins`),
      "plugin install --yes lxc@1.2.0\nplugin install --yes net@^1.0\n",
    );
    await Deno.remove(`${bin}.plugins`);

    assertEquals(
      (await install(["--uninstall", "--prefix", prefix, "--dry-run"])).code,
      0,
    );
    assertTrue((await Deno.stat(bin)).isFile);
    const gone = await install(["--uninstall", "--prefix", prefix]);
    assertEquals(gone.code, 0);
    // Also what the executable had unpacked.
    assertEquals(gone.stdout.includes("\nop-dbus\n"), false, gone.stdout);
    assertEquals([...Deno.readDirSync(`${prefix}/bin`)], []);
  });

  Deno.test(`install.sh with ${tools}: what is wrong is not installed`, async () => {
    await using scratch = await tempFolder();
    const prefix = `${scratch.path}/prefix`, bin = `${prefix}/bin/op-dbus`;
    const path = await pathWithout(`${scratch.path}/path`, [...hidden]);
    await using release = await Release.make(`${scratch.path}/release`);
    const { folder } = release;
    const good = PROGRAM("1.0.0");
    const cases: [string, () => Promise<unknown>, RegExp][] = [
      [
        "another key",
        () => release.publish("1.0.0", good, generateSecretKey()),
        /signature/,
      ],
      [
        "sums changed after signing",
        async () => {
          await release.publish("1.0.0");
          const sums = await Deno.readTextFile(`${folder}/SHA256SUMS`);
          await Deno.writeTextFile(`${folder}/SHA256SUMS`, `${sums}\n`);
        },
        /signature/,
      ],
      [
        "trusted comment changed",
        async () => {
          await release.publish("1.0.0");
          const text = await Deno.readTextFile(`${folder}/SHA256SUMS.minisig`);
          await Deno.writeTextFile(
            `${folder}/SHA256SUMS.minisig`,
            text.replace("version:1.0.0", "version:9.0.0"),
          );
        },
        /signature/,
      ],
      [
        "another executable",
        async () => {
          await release.publish("1.0.0");
          await Deno.writeTextFile(`${folder}/${NAME}`, "#!/bin/sh\necho OWNED\n");
        },
        /SHA-256/,
      ],
      [
        "a cut executable",
        async () => {
          await release.publish("1.0.0");
          await Deno.writeTextFile(`${folder}/${NAME}`, good.slice(0, 20));
        },
        /SHA-256/,
      ],
      [
        "one that does not start",
        () => release.publish("1.0.0", "#!/bin/sh\nexit 1\n"),
        /start/,
      ],
      [
        "one that is another version than was signed",
        () => release.publish("2.0.0", good),
        /says it is op-dbus 1\.0\.0/,
      ],
      [
        "a signature for another document",
        async () => {
          await release.publish("1.0.0");
          const digests = digestBytes(await Deno.readFile(`${folder}/SHA256SUMS`));
          const comment = "timestamp:1\tfile:notes\tversion:1.0.0";
          await Deno.writeTextFile(
            `${folder}/SHA256SUMS.minisig`,
            formatSignature(signDigests(digests, release.key, comment)),
          );
        },
        /no release/,
      ],
      [
        "no signature",
        async () => {
          await release.publish("1.0.0");
          await Deno.remove(`${folder}/SHA256SUMS.minisig`);
        },
        /download/,
      ],
    ];
    for (const [what, prepare, message] of cases) {
      await prepare();
      const { code, stderr } = await install(flags(release, prefix), { path });
      assertEquals(code, 1, what);
      assertIncludes(stderr, message);
      assertEquals(stderr.trim().split("\n").length, 1, stderr);
      assertEquals([...Deno.readDirSync(`${prefix}/bin`)], [], what);
    }
    // What was there before stays as it was.
    await release.publish("1.0.0");
    assertEquals((await install(flags(release, prefix), { path })).code, 0);
    await Deno.writeTextFile(`${folder}/${NAME}`, "OWNED");
    assertEquals((await install(flags(release, prefix), { path })).code, 1);
    assertEquals(await Deno.readTextFile(bin), good);
  });
}

Deno.test("install.sh: a prefix with spaces; uninstalling takes away nothing else", async () => {
  await using scratch = await tempFolder();
  const prefix = `${scratch.path}/my own/the tools`, bin = `${prefix}/bin/op-dbus`;
  await using release = await Release.make(`${scratch.path}/release`);
  assertEquals((await install(flags(release, prefix))).code, 0);
  const fish = `${prefix}/share/fish/vendor_completions.d/op-dbus.fish`;
  assertIncludes(await Deno.readTextFile(fish), "completions fish");
  // What the words of that path would name.
  for (const folder of [`${scratch.path}/my`, `${scratch.path}/own`]) {
    await Deno.mkdir(folder);
    await Deno.writeTextFile(`${folder}/work`, "years");
  }
  const { code, stderr } = await install(["--uninstall", "--prefix", prefix]);
  assertEquals([code, stderr], [0, ""]);
  assertEquals(await Deno.readTextFile(`${scratch.path}/my/work`), "years");
  assertEquals(await sh("find", prefix, "-type", "f"), "", bin);
});

Deno.test("install.sh: endless data are cut off", async () => {
  await using scratch = await tempFolder();
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(65536)),
  }, { highWaterMark: 0 });
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response(endless),
  );
  const key = publicKeyLine(generateSecretKey());
  const url = `http://127.0.0.1:${(server.addr as Deno.NetAddr).port}`;
  const args = ["--url", url, "--key", key, "--prefix", scratch.path];
  const { code, stderr } = await install(args);
  assertEquals(code, 1);
  assertIncludes(stderr, "SHA256SUMS is larger than 1000000 bytes");
  assertEquals([...Deno.readDirSync(`${scratch.path}/bin`)], []);
});

Deno.test("install.sh: wrong usage, dry run, and a script cut anywhere do nothing", async () => {
  await using scratch = await tempFolder();
  const prefix = `${scratch.path}/prefix`;
  await using release = await Release.make(`${scratch.path}/release`);
  const key = publicKeyLine(release.key);
  for (
    const args of [
      ["--nonsense"],
      ["--url"],
      ["--url", "http://example.org", "--key", key],
      ["--url", "ftp://127.0.0.1", "--key", key],
      ["--url", release.url, "--key", "RWshort"],
      ["--url", release.url],
      ["--key", key],
      ["--prefix", "relative", "--url", release.url, "--key", key],
      ["; touch /tmp/evil"],
    ]
  ) {
    const { code, stderr } = await install([...args]);
    assertEquals(code, 2, args.join(" "));
    assertEquals(stderr.trim().split("\n").length, 1, stderr);
  }
  const dry = await install([...flags(release, prefix), "--dry-run", "lxc"]);
  assertEquals(dry.code, 0);
  assertIncludes(dry.stdout, "Would install plugins: lxc");
  assertEquals(release.asked, []);

  const text = await Deno.readTextFile(INSTALLER), cut = `${scratch.path}/cut.sh`;
  const end = text.lastIndexOf("exit 0\n}");
  for (let at = 100; at < end; at += 211) {
    await Deno.writeTextFile(cut, text.slice(0, at));
    await install(flags(release, prefix), { script: cut });
  }
  assertEquals(release.asked, []);
  assertEquals(await Deno.stat(prefix).catch(() => null), null);
});
