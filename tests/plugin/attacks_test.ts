/** The attacks of The Update Framework's list that aim at packages. */
import { assertEquals, assertRejects } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { OpError } from "../../lib/base/errors.ts";
import { formatSignature } from "../../lib/plugin/minisign/format.ts";
import { digestBytes, signDigests } from "../../lib/plugin/minisign/sign.ts";
import { formatClaim } from "../../lib/plugin/package_signature.ts";
import { TrustStore } from "../../lib/plugin/trust_store.ts";
import { storedVersions } from "../../lib/plugin/version_store.ts";
import {
  endless,
  generateSecretKey,
  IMPATIENT,
  publicOf,
  publish,
  serve,
  type TestServer,
} from "./kit.ts";
import {
  filesOf,
  makeRepository,
  publishPlugin,
  reindex,
  type TestHost,
  testHost,
  type TestRepository,
} from "./repo_kit.ts";

interface Setting {
  server: TestServer;
  host: TestHost;
  repository: TestRepository;
  folder: string;
}

/** A served repository with lxc 1.0.0 and 2.0.0 and net 1.0.0; a host that uses it. */
async function setting(run: (s: Setting) => Promise<void>): Promise<void> {
  await using scratch = await tempFolder();
  const folder = scratch.path;
  const repository = await makeRepository(`${folder}/repo`, [
    { name: "lxc", version: "1.0.0", tree: { code: "1" } },
    { name: "lxc", version: "2.0.0", tree: { code: "2" } },
    { name: "net", version: "1.0.0", tree: { code: "n" } },
  ]);
  await using server = serve(filesOf(repository.folder));
  Deno.mkdirSync(`${folder}/root`);
  const host = testHost(`${folder}/root`, server.url, [repository.key]);
  await host.update();
  await run({ server, host, repository, folder });
}

const file = (name: string, version: string) => `${name}/${name}-v${version}.btrfs.zst`;

/** The install fails with this code, and leaves nothing behind. */
async function refused({ host }: Setting, what: string, code: string): Promise<void> {
  const error = await assertRejects(() => host.install([what]), OpError);
  assertEquals(error.code, code, error.message);
  const { layout } = host.place;
  assertEquals(storedVersions(layout), []);
  const names = [...Deno.readDirSync(layout.root)].map((entry) => entry.name).sort();
  assertEquals(names, ["@plugin-snapshots", "meta"]);
  assertEquals([...Deno.readDirSync(layout.pluginSnapshots)], []);
  // At most a part, to go on from: nothing that was refused.
  const fetched = [...Deno.readDirSync(`${layout.meta}/downloads`)];
  assertEquals(fetched.filter((entry) => !entry.name.endsWith(".part")), []);
}

function serveInstead({ server }: Setting, path: string, other: string): void {
  for (const suffix of ["", ".minisig"]) {
    server.files.set(path + suffix, server.files.get(other + suffix)!);
  }
}

Deno.test("wrong package for the name: another plugin in its place", async () => {
  await setting(async (s) => {
    serveInstead(s, file("lxc", "2.0.0"), file("net", "1.0.0"));
    const error = await assertRejects(() => s.host.install(["lxc"]), OpError);
    assertEquals(["wrong_digest", "too_large", "incomplete"].includes(error.code), true);
  });
});

Deno.test("rollback: an old package under a new version's name", async () => {
  await setting(async (s) => {
    serveInstead(s, file("lxc", "2.0.0"), file("lxc", "1.0.0"));
    const error = await assertRejects(() => s.host.install(["lxc"]), OpError);
    assertEquals(["wrong_digest", "too_large", "incomplete"].includes(error.code), true);
  });
});

Deno.test("mix-and-match: a package of another index, though rightly signed", async () => {
  await setting(async (s) => {
    const { repository, server } = s;
    const path = await publishPlugin(repository, {
      name: "lxc",
      version: "3.0.0",
      tree: { code: "2" },
    });
    // The author's own later package, not in the index that the host accepted.
    await reindex(repository);
    for (const suffix of ["", ".minisig"]) {
      server.files.set(file("lxc", "2.0.0") + suffix, Deno.readFileSync(path + suffix));
    }
    const error = await assertRejects(() => s.host.install(["lxc"]), OpError);
    assertEquals(["wrong_digest", "too_large", "incomplete"].includes(error.code), true);
  });
});

Deno.test("a mirror that lies: one changed bit, at every 97th place", async () => {
  await setting(async (s) => {
    const path = file("lxc", "2.0.0");
    const good = s.server.files.get(path)!;
    for (let at = 0; at < good.length; at += 97) {
      s.server.files.set(path, good.with(at, good[at]! ^ 1) as typeof good);
      await refused(s, "lxc", "wrong_digest");
    }
    s.server.files.set(path, good);
    await s.host.install(["lxc"]);
  });
});

Deno.test("a swapped signature: another package's, an old one, a stranger's, none", async () => {
  await setting(async (s) => {
    const path = file("lxc", "2.0.0"), { server } = s;
    const good = server.files.get(`${path}.minisig`)!;
    server.files.set(
      `${path}.minisig`,
      server.files.get(`${file("net", "1.0.0")}.minisig`)!,
    );
    await refused(s, "lxc", "bad_signature");
    const bytes = server.files.get(path)!, digests = digestBytes(bytes);
    const claim = { name: "lxc", version: "2.0.0", from: null, timestamp: 1 };
    const signed = (
      key = s.repository.key,
      more: { sha256?: string } & Partial<typeof claim> = {},
    ) => {
      const comment = formatClaim({ ...claim, sha256: digests.sha256, ...more }, "f");
      const text = formatSignature(signDigests(digests, key, comment));
      server.files.set(`${path}.minisig`, new TextEncoder().encode(text));
    };
    signed(generateSecretKey());
    await refused(s, "lxc", "unknown_key");
    signed(undefined, { name: "net" });
    await refused(s, "lxc", "wrong_package");
    signed(undefined, { version: "2.0.1" });
    await refused(s, "lxc", "wrong_package");
    signed(undefined, { sha256: "0".repeat(64) });
    await refused(s, "lxc", "wrong_package");
    server.files.delete(`${path}.minisig`);
    await refused(s, "lxc", "unsigned");
    server.files.set(`${path}.minisig`, new Uint8Array(100_000));
    await refused(s, "lxc", "too_large");
    server.files.set(`${path}.minisig`, good);
    await s.host.install(["lxc"]);
  });
});

Deno.test("key compromise: a package signed by a revoked key, though in the index", async () => {
  await setting(async (s) => {
    const trust = new TrustStore(s.host.place.layout);
    trust.revoke(s.repository.key.id, "stolen");
    await refused(s, "lxc", "revoked_key");
  });
});

Deno.test("a repository shuts out its own keys, and nobody else's", async () => {
  await setting(async (s) => {
    const { Repositories } = await import("../../lib/plugin/repositories.ts");
    const { updateRepository } = await import("../../lib/plugin/repository_update.ts");
    const { index, signedIndex } = await import("./kit.ts");
    const { layout } = s.host.place, { key } = s.repository;
    const trust = new TrustStore(layout), other = generateSecretKey();
    trust.trust(publicOf(key));
    await using server = serve();
    publish(server, signedIndex(index({ revoked_keys: [key.id] }), [other]));
    const options = { allowHttp: true, trust };
    new Repositories(layout).add("evil", server.url, [publicOf(other)], options);
    const update = { allowHttp: true, patience: IMPATIENT };
    const { revoked } = await updateRepository(
      new Repositories(layout),
      new TrustStore(layout),
      "evil",
      update,
    );
    assertEquals(revoked, []);
    assertEquals(new TrustStore(layout).find(key.id)?.id, key.id);
    await s.host.install(["net"]);
    // What hub says of a key holds for its packages, though the user trusts it still.
    const { index: own } = await reindex(s.repository);
    const author = generateSecretKey(), file = "lxc/lxc-v2.0.0.btrfs.zst";
    new TrustStore(layout).trust(publicOf(author));
    const digests = digestBytes(s.server.files.get(file)!);
    const claim = { name: "lxc", version: "2.0.0", from: null, timestamp: 1 };
    const comment = formatClaim({ ...claim, sha256: digests.sha256 }, "f");
    const text = formatSignature(signDigests(digests, author, comment));
    s.server.files.set(`${file}.minisig`, new TextEncoder().encode(text));
    publish(s.server, signedIndex({ ...own, revoked_keys: [author.id] }, [key]));
    await s.host.update();
    const error = await assertRejects(() => s.host.install(["lxc"]), OpError);
    assertEquals(error.code, "revoked_key");
    assertEquals(new TrustStore(layout).find(author.id)?.id, author.id);
  });
});

Deno.test("endless data and slow retrieval of a package end in an error", async () => {
  await setting(async (s) => {
    const path = file("lxc", "2.0.0");
    s.server.intercept = (_, asked) =>
      asked === path ? new Response(endless(new Uint8Array(65536))) : undefined;
    await refused(s, "lxc", "too_large");
    s.server.intercept = (_, asked) =>
      asked === path ? new Response(endless(new Uint8Array(1), 5)) : undefined;
    await refused(s, "lxc", "too_slow");
  });
});

Deno.test("freeze: an accepted index that has expired installs nothing", async () => {
  await setting(async (s) => {
    const { Catalog } = await import("../../lib/plugin/catalog.ts");
    const { Repositories } = await import("../../lib/plugin/repositories.ts");
    const { layout } = s.host.place;
    const later = { now: new Date(Date.now() + 91 * 86_400_000), allowHttp: true };
    const load = () =>
      Catalog.load(new Repositories(layout), new TrustStore(layout), later);
    const error = await assertRejects(load, OpError);
    assertEquals(error.code, "expired_index");
  });
});

Deno.test("an index that promises another tree than its package has is refused", async () => {
  await setting(async (s) => {
    const { repository, server, host } = s;
    const { index } = await reindex(repository);
    const { signedIndex } = await import("./kit.ts");
    const lie = structuredClone(index) as
      & { plugins: Record<string, unknown> }
      & typeof index;
    const versions = lie.plugins.lxc!.versions as { tree: string }[];
    for (const version of versions) version.tree = "0".repeat(64);
    for (const [path, bytes] of signedIndex({ ...lie, counter: 9 }, [repository.key])) {
      server.files.set(path, bytes);
    }
    await host.update();
    await refused(s, "lxc", "wrong_package");
  });
});
