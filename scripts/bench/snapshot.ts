/** Snapshots against the `btrfs` command, on a loop-mounted btrfs. Root, btrfs-progs. */
import {
  type Bench,
  type BenchContext,
  type Row,
  row,
  sideBySide,
} from "../bench_kit.ts";
import type { Arch } from "../release/build.ts";
import type { Target } from "../../lib/snapshot/target.ts";

const IMAGE_MB = 2048;
const SEND_MB = 200;
const MANY = 10_000;

function spawn(program: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(program, { args, stdout: "null" })
    .outputSync();
  if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
}

/** A root on a btrfs of its own for the time of a bench. */
async function onBtrfs(
  scratch: string,
  body: (target: Target, mount: string, root: string) => Promise<Row[]>,
): Promise<Row[]> {
  const [{ initRoot }, { mountLoopback }, { findTarget }, { Layout }, config] =
    await Promise
      .all([
        import("../../lib/base/root.ts"),
        import("../../lib/base/root_loopback.ts"),
        import("../../lib/snapshot/target.ts"),
        import("../../lib/base/layout.ts"),
        import("../../lib/base/config.ts"),
      ]);
  const mount = `${scratch}/mnt`;
  await mountLoopback({
    root: mount,
    image: `${scratch}/image`,
    sizeBytes: IMAGE_MB * 2 ** 20,
  });
  try {
    const root = `${mount}/root`;
    initRoot({ root });
    const target = findTarget(new Layout(root), config.resolveConfig({}), "state");
    return await body(target, mount, root);
  } finally {
    spawn("umount", "-l", mount);
  }
}

async function createAndDelete({ scratch }: BenchContext): Promise<Row[]> {
  const { createSnapshot } = await import("../../lib/snapshot/create.ts");
  const { deleteSnapshot } = await import("../../lib/snapshot/remove.ts");
  return await onBtrfs(scratch, async (target) => {
    await Deno.mkdir(target.folder, { recursive: true });
    let nowMs = Date.UTC(2020, 0, 1), theirs = 0;
    const ours: string[] = [], names: string[] = [];
    const [create, createPeer] = await sideBySide([
      async () => {
        ours.push((await createSnapshot(target, { nowMs: nowMs += 60_000 })).name);
      },
      () => {
        const name = `${target.folder}/peer-${theirs++}`;
        names.push(name);
        spawn("btrfs", "subvolume", "snapshot", "-r", target.path, name);
      },
    ], { rounds: 31 });
    const [remove, removePeer] = await sideBySide([
      async () => void await deleteSnapshot(target, ours.pop()!),
      () => spawn("btrfs", "subvolume", "delete", names.pop()!),
    ], { rounds: 25 });
    return [
      row("snapshot/create", "ms", "lower", create!, {
        name: "btrfs subvolume snapshot -r",
        value: createPeer!,
      }),
      row("snapshot/delete", "ms", "lower", remove!, {
        name: "btrfs subvolume delete",
        value: removePeer!,
      }),
    ];
  });
}

/** `op-dbus snapshot rotate` of 24, process start included. */
async function rotateCommand({ scratch }: BenchContext): Promise<Row[]> {
  const { build, MAIN } = await import("../release/build.ts");
  const { createSnapshot } = await import("../../lib/snapshot/create.ts");
  const { folder } = await build(`${scratch}/app`, Deno.build.arch as Arch);
  return await onBtrfs(scratch, async (target, mount, root) => {
    const start = Date.now() - 24 * 3_600_000;
    for (let i = 0; i < 24; i++) {
      await createSnapshot(target, { nowMs: start + i * 60_000 });
    }
    let peer = 0;
    const env = { OPDBUS_CONFIG: "/dev/null", DENO_DIR: `${scratch}/deno` };
    const args = ["run", "--quiet", "-A", "--no-config", "--no-lock", "--no-npm"];
    const [ours, theirs] = await sideBySide([
      () => {
        const { success, stderr } = new Deno.Command(Deno.execPath(), {
          args: [
            ...args,
            `${folder}/${MAIN}`,
            "--root",
            root,
            "snapshot",
            "rotate",
            "state",
          ],
          env,
        }).outputSync();
        if (!success) throw new Error(new TextDecoder().decode(stderr));
      },
      () =>
        spawn(
          "btrfs",
          "subvolume",
          "snapshot",
          "-r",
          target.path,
          `${mount}/peer-${peer++}`,
        ),
    ], { rounds: 15 });
    return [
      row("snapshot/rotate", "ms", "lower", ours!, {
        name: "btrfs subvolume snapshot -r alone",
        value: theirs!,
      }),
    ];
  });
}

async function sendFile({ scratch }: BenchContext): Promise<Row[]> {
  const { createSnapshot } = await import("../../lib/snapshot/create.ts");
  const { sendToFile } = await import("../../lib/snapshot/send_file.ts");
  const { sendToFd } = await import("../../lib/stream/send.ts");
  const { close, O_CREAT, O_TRUNC, O_WRONLY, open } = await import("../../ffi/files.ts");
  return await onBtrfs(scratch, async (target, mount) => {
    const block = new Uint8Array(2 ** 20);
    for (let i = 0; i < SEND_MB; i++) {
      for (let at = 0; at < block.length; at += 65536) {
        crypto.getRandomValues(block.subarray(at, at + 65536));
      }
      await Deno.writeFile(`${target.path}/${i}`, block);
    }
    const full = await createSnapshot(target, { nowMs: Date.UTC(2020, 0, 1) });
    for (let i = 0; i < SEND_MB / 100; i++) {
      await Deno.writeFile(`${target.path}/${i}`, block);
    }
    const next = await createSnapshot(target, { nowMs: Date.UTC(2020, 0, 2) });
    const file = `${mount}/stream`, parent = full.path;
    const peer = ["send", "-q", "-f", `${file}.peer`, full.path];
    const [ours, theirs, oursUnsynced, theirsUnsynced, small] = await sideBySide([
      () => sendToFile(full.path, file, { force: true }),
      () => {
        spawn("btrfs", ...peer);
        spawn("sync", `${file}.peer`);
      },
      async () => {
        const fd = open(`${file}.pipe`, O_WRONLY | O_CREAT | O_TRUNC, 0o600);
        await sendToFd(full.path, fd);
        close(fd);
      },
      () => spawn("btrfs", ...peer),
      () => sendToFile(next.path, `${file}.small`, { force: true, parent }),
    ], { rounds: 5, warmup: 1, before: () => spawn("sync", "-f", mount) });
    return [
      row("snapshot/send_200mb", "ms", "lower", ours!, {
        name: "btrfs send && sync (both durable)",
        value: theirs!,
      }),
      row("snapshot/send_200mb_unsynced", "ms", "lower", oursUnsynced!, {
        name: "btrfs send (both unsynced, as into a pipe)",
        value: theirsUnsynced!,
      }),
      row("snapshot/send_1_percent", "ms", "lower", small!, {
        name: "our full send",
        value: ours!,
      }),
    ];
  });
}

async function listMany({ scratch }: BenchContext): Promise<Row[]> {
  // Empty subvolumes of the right names cost the same to list, and no commit each to make.
  const { openFolder, createSubvolume } = await import("../../ffi/btrfs.ts");
  const { close } = await import("../../ffi/files.ts");
  const { listFound } = await import("../../lib/snapshot/found.ts");
  const { snapshotName } = await import("../../lib/snapshot/name.ts");
  return await onBtrfs(scratch, async (target) => {
    await Deno.mkdir(target.folder, { recursive: true });
    const folder = openFolder(target.folder);
    for (let i = 0; i < MANY; i++) {
      const name = snapshotName(target.prefix, Date.UTC(2020, 0, 1) + i * 60_000);
      createSubvolume(folder, name);
    }
    close(folder);
    const [ours, theirs] = await sideBySide([
      () => listFound(target),
      () => spawn("btrfs", "subvolume", "list", "-o", target.folder),
    ], { rounds: 5, warmup: 1 });
    return [
      row("snapshot/list_10000", "ms", "lower", ours!, {
        name: "btrfs subvolume list",
        value: theirs!,
      }),
    ];
  });
}

export const benches: Bench[] = [
  {
    name: "snapshot-make",
    about: "create and delete against spawning the btrfs command",
    run: createAndDelete,
  },
  {
    name: "snapshot-rotate",
    about: "rotate of 24, process start included, against one btrfs command",
    run: rotateCommand,
  },
  { name: "snapshot-send", about: "send of 200 MB, and of a 1 % change", run: sendFile },
  { name: "snapshot-list", about: "listing 10,000 snapshots", run: listMany },
];
