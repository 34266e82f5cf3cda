/** Send streams: receive against `btrfs receive`, audit, pack, memory. */
import {
  type Bench,
  type BenchContext,
  type Row,
  row,
  sideBySide,
} from "../bench_kit.ts";

const MB = 1_000_000;
const LARGE_FILES = 40, LARGE_FILE_BYTES = 5 * MB;
const SMALL_FILES = 40_000, SMALL_FOLDERS = 200;
const PLUGIN_FILES = 1000;

async function sh(command: string, ...args: string[]): Promise<void> {
  const out = await new Deno.Command(command, { args, stdin: "null" }).output();
  if (out.success) return;
  throw new Error(`${command} ${args[0]}: ${new TextDecoder().decode(out.stderr)}`);
}

/** Runs `body` with a btrfs mounted, as root. */
async function onBtrfs<T>(
  scratch: string,
  body: (root: string) => Promise<T>,
): Promise<T> {
  const image = `${scratch}/image`, root = `${scratch}/mnt`;
  await Deno.mkdir(root);
  await sh("truncate", "-s", "12G", image);
  await sh("mkfs.btrfs", "-q", image);
  await sh("mount", "-o", "loop", image, root);
  try {
    return await body(root);
  } finally {
    await sh("umount", root);
    await Deno.remove(image);
  }
}

/** Random bytes; the same folder for everybody. */
async function largeTree(folder: string): Promise<void> {
  await Deno.mkdir(folder);
  for (let n = 0; n < LARGE_FILES; n++) {
    const bytes = new Uint8Array(LARGE_FILE_BYTES);
    for (let at = 0; at < bytes.length; at += 65536) {
      crypto.getRandomValues(bytes.subarray(at, at + 65536));
    }
    await Deno.writeFile(`${folder}/file${n}`, bytes);
  }
}

function smallTree(folder: string, files: number, folders: number): void {
  Deno.mkdirSync(folder);
  for (let n = 0; n < folders; n++) Deno.mkdirSync(`${folder}/folder${n}`);
  for (let n = 0; n < files; n++) {
    const text = `file ${n}\n`.repeat(1 + n % 20);
    Deno.writeTextFileSync(`${folder}/folder${n % folders}/file${n}`, text);
  }
}

/** The stream that the kernel sends of a folder on btrfs. */
async function kernelStream(root: string, folder: string, file: string): Promise<void> {
  await sh("btrfs", "subvolume", "snapshot", "-r", folder, `${folder}-sent`);
  await sh("btrfs", "send", "-q", "-f", file, `${folder}-sent`);
  await sh("sync", "-f", root);
}

/** Receives a file side by side with stock, with and without stock's missing sync. */
async function receiveRows(
  name: string,
  root: string,
  file: string,
  rounds: number,
  warmup = 1,
): Promise<Row[]> {
  const { receiveStream } = await import("../../lib/stream/receive.ts");
  const { fileSource } = await import("../../lib/stream/source.ts");
  let count = 0, folder = "";
  // What one leaves unwritten must not be written on the next one's time.
  const before = async () => {
    for (const { name } of folder ? Deno.readDirSync(folder) : []) {
      await sh("btrfs", "subvolume", "delete", `${folder}/${name}`);
    }
    folder = `${root}/in${count++}`;
    await Deno.mkdir(folder);
    await sh("sync", "-f", root);
  };
  const [ours, stock, synced] = await sideBySide([
    () => receiveStream(fileSource(file), { folder }),
    () => sh("btrfs", "receive", "-q", "-f", file, folder),
    async () => {
      await sh("btrfs", "receive", "-q", "-f", file, folder);
      await sh("sync", "-f", folder);
    },
  ], { rounds, warmup, before });
  return [
    row(name, "ms", "lower", ours!, {
      name: "btrfs receive (not synced)",
      value: stock!,
    }),
    row(`${name}/synced`, "ms", "lower", ours!, {
      name: "btrfs receive && sync",
      value: synced!,
    }),
  ];
}

async function receiveLarge({ scratch }: BenchContext): Promise<Row[]> {
  return await onBtrfs(scratch, async (root) => {
    await sh("btrfs", "subvolume", "create", `${root}/src`);
    await largeTree(`${root}/src/files`);
    await kernelStream(root, `${root}/src`, `${scratch}/large`);
    return await receiveRows("stream-receive-large", root, `${scratch}/large`, 5);
  });
}

async function receiveSmall({ scratch }: BenchContext): Promise<Row[]> {
  return await onBtrfs(scratch, async (root) => {
    await sh("btrfs", "subvolume", "create", `${root}/src`);
    smallTree(`${root}/src/files`, SMALL_FILES, SMALL_FOLDERS);
    await kernelStream(root, `${root}/src`, `${scratch}/small`);
    return await receiveRows("stream-receive-small", root, `${scratch}/small`, 3, 0);
  });
}

async function audit({ scratch }: BenchContext): Promise<Row[]> {
  const { auditStream } = await import("../../lib/stream/inspect.ts");
  const { savePacked } = await import("../../lib/stream/save.ts");
  const { fileSource } = await import("../../lib/stream/source.ts");
  await largeTree(`${scratch}/files`);
  const file = `${scratch}/large`;
  const { streamBytes } = await savePacked(`${scratch}/files`, file, { name: "large" });
  const speed = (ms: number) => streamBytes / MB / (ms / 1000);
  const [ours, without, dump] = await sideBySide([
    () => auditStream(fileSource(file)),
    () => auditStream(fileSource(file), { digest: false }),
    () => sh("btrfs", "receive", "--dump", "-f", file),
  ], { rounds: 7 });
  const peer = { name: "btrfs receive --dump", value: speed(dump!) };
  return [
    row("stream-audit/with-digest", "MB/s", "higher", speed(ours!), peer),
    row("stream-audit", "MB/s", "higher", speed(without!), peer),
  ];
}

async function pack({ scratch }: BenchContext): Promise<Row[]> {
  const { packFolder } = await import("../../lib/stream/pack.ts");
  smallTree(`${scratch}/plugin`, PLUGIN_FILES, 20);
  const folder = `${scratch}/plugin`;
  const [ours, tar] = await sideBySide([
    () => [...packFolder(folder, { name: "plugin@v1.0.0" })],
    () => sh("tar", "-C", folder, "-cf", `${scratch}/tar`, "."),
  ], { rounds: 15, warmup: 3 });
  return [row("stream-pack-1000", "ms", "lower", ours!, { name: "tar", value: tar! })];
}

/** Highest resident size of a fresh process that receives a file, or only starts. */
async function peakBytes(file: string, folder: string): Promise<number> {
  const library = new URL("../../lib/stream/", import.meta.url);
  const code = `
    import { receiveStream } from "${library}receive.ts";
    import { fileSource } from "${library}source.ts";
    const [file, folder] = Deno.args;
    if (file) await receiveStream(fileSource(file), { folder, plain: true });
    const status = Deno.readTextFileSync("/proc/self/status");
    console.log(/VmHWM:\\s+(\\d+)/.exec(status)[1] * 1024);`;
  const script = `${folder}/../peak.ts`;
  await Deno.writeTextFile(script, code);
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const args = ["run", "-A", "--no-check", "--config", config, script, file, folder];
  const out = await new Deno.Command(Deno.execPath(), { args }).output();
  if (!out.success) throw new Error(new TextDecoder().decode(out.stderr));
  return Number(new TextDecoder().decode(out.stdout));
}

async function memory({ scratch }: BenchContext): Promise<Row[]> {
  const { savePacked } = await import("../../lib/stream/save.ts");
  await Deno.mkdir(`${scratch}/in`);
  await largeTree(`${scratch}/files`);
  await savePacked(`${scratch}/files`, `${scratch}/one`, { name: "one" });
  for (let n = 0; n < LARGE_FILES; n++) {
    await Deno.copyFile(`${scratch}/files/file${n}`, `${scratch}/files/more${n}`);
    await Deno.copyFile(`${scratch}/files/file${n}`, `${scratch}/files/most${n}`);
  }
  await savePacked(`${scratch}/files`, `${scratch}/three`, { name: "three" });
  const runtime = await peakBytes("", `${scratch}/in`);
  const one = await peakBytes(`${scratch}/one`, `${scratch}/in`) - runtime;
  const three = await peakBytes(`${scratch}/three`, `${scratch}/in`) - runtime;
  const peer = { name: "a stream of a third of the size", value: one / MB };
  return [
    row("stream-memory/200-MB", "MB", "lower", one / MB),
    row("stream-memory/600-MB", "MB", "lower", three / MB, peer),
  ];
}

export const benches: Bench[] = [
  {
    name: "stream-receive-large",
    about: "200 MB received on btrfs, audit, digest and sync included",
    run: receiveLarge,
  },
  {
    name: "stream-receive-small",
    about: "40,000 small files received on btrfs, audit, digest and sync included",
    run: receiveSmall,
  },
  { name: "stream-audit", about: "200 MB audited, with and without digest", run: audit },
  { name: "stream-pack-1000", about: "a plugin of 1,000 files as a stream", run: pack },
  {
    name: "stream-memory",
    about: "peak memory of a receive above the runtime's own",
    run: memory,
  },
];
