/**
 * The kernel sends, op-dbus and `btrfs receive` receive the same stream, and the trees
 * are compared with find, sha256sum, stat and getfattr. Then the other way round.
 *
 * OPDBUS_DIFFERENTIAL sets the number of trees (default 16, in the campaign 300);
 * OPDBUS_SEED the first seed.
 */
import { createSnapshot, createSubvolume, deleteSubvolume } from "../../ffi/btrfs.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { HOST_LIMITS, PLUGIN_LIMITS } from "../../lib/stream/limits.ts";
import { parentsInFolder } from "../../lib/stream/parents.ts";
import { VerifiedSnapshots } from "../support/verified_snapshots.ts";
import { HOST_POLICY, PLUGIN_POLICY } from "../../lib/stream/policy.ts";
import { type ReceiveResult, receiveStream } from "../../lib/stream/receive.ts";
import { sendChunks } from "../../lib/stream/send.ts";
import { savePacked, saveStream } from "../../lib/stream/save.ts";
import { chunksSource, fileSource } from "../../lib/stream/source.ts";
import { assertEquals } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import { describeTree } from "../support/tree_compare.ts";

const TREES = Number(Deno.env.get("OPDBUS_DIFFERENTIAL") ?? 16);
const FIRST_SEED = Number(Deno.env.get("OPDBUS_SEED") ?? 1);
const GENERATOR = new URL("../support/tree_generator.py", import.meta.url).pathname;

/** Random moves make links leave their tree, which a plugin's may not. */
const MOVED_LINKS = { ...PLUGIN_POLICY, symlinks: "any" as const };

/** And make folders deeper than a plugin's. */
const DEEP = { ...PLUGIN_LIMITS, depth: 1000 };

interface Places {
  readonly root: string;
  readonly ours: string;
  readonly stock: string;
  readonly plain: string;
  readonly streams: string;
  readonly records: VerifiedSnapshots;
}

platformTest(
  `${TREES} trees received here and by btrfs receive are the same`,
  async () => {
    await using fs = await btrfsScratch(3000, "compress=zstd");
    await using other = await tempFolder();
    const folder = async (path: string) => {
      await Deno.mkdir(path);
      return path;
    };
    const places: Places = {
      root: await folder(`${fs.path}/src`),
      ours: await folder(`${fs.path}/ours`),
      stock: await folder(`${fs.path}/stock`),
      plain: await folder(`${other.path}/plain`),
      streams: await folder(`${other.path}/streams`),
      records: new VerifiedSnapshots(),
    };
    for (let seed = FIRST_SEED; seed < FIRST_SEED + TREES; seed++) {
      try {
        await oneTree(seed, places);
      } catch (error) {
        throw new Error(`OPDBUS_SEED=${seed} OPDBUS_DIFFERENTIAL=1`, { cause: error });
      }
    }
  },
);

async function oneTree(seed: number, places: Places): Promise<void> {
  const host = seed % 2 === 0, compressed = seed % 3 === 0 ? "never" : "auto";
  const flavour = host ? "host" : "plain";
  const big = seed % 100 === 50 ? ["big"] : [];
  withFd(open(places.root, O_RDONLY | O_DIRECTORY), (fd) => createSubvolume(fd, "work"));
  const work = `${places.root}/work`;
  let previous: string | undefined;
  for (const step of ["make", "edit", "edit2"]) {
    const action = step === "make" ? "make" : "edit";
    await sh("python3", GENERATOR, `${seed}${step}`, flavour, action, work, ...big);
    const name = `s${seed}-${step}`;
    snapshot(work, places.root, name);
    const stream = `${places.streams}/${name}`;
    const parent = previous && `${places.root}/${previous}`;
    const options = { compressed, ...(parent && { parent }) } as const;
    await saveStream(sendChunks(`${places.root}/${name}`, options), stream, {
      ...(seed % 4 === 1 && { zstdLevel: 3 }),
    });
    await receiveAll(name, stream, seed, host, places);
    if (!host && !previous) await packToo(name, places);
    previous = name;
  }
  await cleanUp(seed, places);
}

function snapshot(from: string, folder: string, name: string): void {
  withFd(open(from, O_RDONLY | O_DIRECTORY), (source) =>
    withFd(
      open(folder, O_RDONLY | O_DIRECTORY),
      (fd) => createSnapshot(source, fd, name, true),
    ));
}

async function receiveAll(
  name: string,
  stream: string,
  seed: number,
  host: boolean,
  places: Places,
): Promise<void> {
  const { ours, stock, plain, records, root } = places;
  const decoded = seed % 4 === 1 ? ["zstd", "-dc", stream] : ["cat", stream];
  await sh("bash", "-c", `${decoded.join(" ")} | btrfs receive ${stock}`);
  const wanted = await describeTree(`${stock}/${name}`);

  const policy = host
    ? { policy: HOST_POLICY, limits: HOST_LIMITS, parent: parentsInFolder(ours) }
    : { policy: MOVED_LINKS, limits: DEEP, parent: records.find };
  const source = seed % 5 === 2
    ? chunksSource((await Deno.open(stream)).readable, name)
    : fileSource(stream);
  const got = await receiveStream(source, { folder: ours, ...policy });
  assertEquals(await describeTree(got.path), wanted, `${name}: received here`);
  // The kernel's stream leaves out a folder's time now and then: not compared here.
  const sent = await describeTree(`${root}/${name}`, { times: false });
  assertEquals(await describeTree(got.path, { times: false }), sent, `${name}: as sent`);
  await checkAsStock(`${stock}/${name}`, got);
  const digest = digestOfFolder(`${root}/${name}`);
  if (!host) {
    assertEquals(got.digest, digest, `${name}: digest`);
    const { uuid: streamUuid, ctransid } = got.identity;
    const { path, localUuid } = got;
    records.add({ streamUuid, ctransid: `${ctransid}`, path, localUuid, digest });
    if (seed % 7 === 0) await plainToo(name, stream, digest, places);
  }
  assertEquals(digestOfFolder(got.path), digest);
  if (name.endsWith("make")) assertEquals(got.identity.parent, null);
  await sh("rm", "-rf", `${plain}/${name}`);
}

/** Marked like stock marks it. */
async function checkAsStock(path: string, got: ReceiveResult): Promise<void> {
  const facts = async (at: string) =>
    (await sh("btrfs", "subvolume", "show", at)).split("\n").filter((line) =>
      /Received UUID|Flags|Send transid/.test(line)
    );
  assertEquals(await facts(got.path), await facts(path));
}

/** Onto a file system without subvolumes; differences by copying the base. */
async function plainToo(name: string, stream: string, digest: string, places: Places) {
  const parent = places.records.find;
  const got = await receiveStream(fileSource(stream), {
    folder: places.plain,
    plain: true,
    policy: MOVED_LINKS,
    limits: DEEP,
    parent,
  });
  assertEquals(got.kind, "plain");
  const there = await describeTree(got.path), here = `${places.ours}/${name}`;
  assertEquals(there, await describeTree(here));
  assertEquals(digestOfFolder(got.path), digest);
}

/** The other way round: a stream written here, received by stock. */
async function packToo(name: string, { root, stock, streams }: Places): Promise<void> {
  const file = `${streams}/packed`, received = `${stock}/packed`;
  const { digest } = await savePacked(`${root}/${name}`, file, { name: "packed" });
  await sh("btrfs", "receive", "-f", file, stock);
  assertEquals(digestOfFolder(received), digest, `${name}: packed`);
  await sh("diff", "-r", "--no-dereference", `${root}/${name}`, received);
  withFd(
    open(stock, O_RDONLY | O_DIRECTORY),
    (fd) => deleteSubvolume(fd, "packed"),
  );
}

async function cleanUp(seed: number, places: Places): Promise<void> {
  for (const folder of [places.root, places.ours, places.stock]) {
    withFd(open(folder, O_RDONLY | O_DIRECTORY), (fd) => {
      if (folder === places.root) deleteSubvolume(fd, "work");
      for (const step of ["edit2", "edit", "make"]) {
        deleteSubvolume(fd, `s${seed}-${step}`);
      }
    });
  }
  await sh("bash", "-c", `rm -f ${places.streams}/* `);
}
