/** Things around a target that an attack must not change. */
import { createHash } from "node:crypto";
import { digestOfFolder } from "../../lib/stream/disk_tree.ts";
import { listFolder } from "../../ffi/directory.ts";
import { canMountBtrfs, sh, tempFolder } from "./scratch.ts";

/** A target folder, with canaries beside it, on another file system and on a device. */
export interface Canaries extends AsyncDisposable {
  /** Where to receive into; empty. */
  readonly target: string;
  /** A file beside the target, world-writable. */
  readonly beside: string;
  /** A secret beside the target, 0600. */
  readonly secret: string;
  /** A file on another file system. */
  readonly elsewhere: string;
  /** Device number of a loop device (0n without root). */
  readonly device: bigint;
  /** What has changed, or was left in the target; empty when all is well. */
  changes(): string[];
}

const IMAGE_BYTES = 1024 * 1024;

/** @param target a folder to use as the target (e.g. on btrfs); default a plain one */
export async function canaries(target?: string): Promise<Canaries> {
  const near = await tempFolder("canary-"), far = await tempFolder("canary-far-");
  const root = canMountBtrfs();
  if (root) await sh("mount", "-t", "tmpfs", "-o", "size=4m", "canary", far.path);
  const inside = target ?? `${near.path}/target`;
  if (!target) await Deno.mkdir(inside);
  const beside = `${near.path}/beside`, secret = `${near.path}/secret`;
  await Deno.writeTextFile(beside, "beside");
  await Deno.chmod(beside, 0o666);
  await Deno.writeTextFile(secret, "the secret");
  await Deno.chmod(secret, 0o600);
  await Deno.mkdir(`${near.path}/folder`);
  const elsewhere = `${far.path}/elsewhere`;
  await Deno.writeTextFile(elsewhere, "elsewhere");
  const image = `${far.path}/image`;
  await Deno.writeFile(image, new Uint8Array(IMAGE_BYTES).fill(67));
  const loop = root ? (await sh("losetup", "--show", "-f", image)).trim() : "";
  const device = loop ? BigInt(Deno.statSync(loop).rdev!) : 0n;
  const look = () => {
    if (loop) Deno.openSync(loop).close();
    const parts: Record<string, string> = {
      near: target ? digestOfFolder(near.path) : digestExceptTarget(near.path),
      far: digestOfFolder(far.path),
      times: [beside, secret, elsewhere].map((path) => {
        const { mtime, uid, gid, mode, nlink } = Deno.lstatSync(path);
        return [mtime!.getTime(), uid, gid, mode, nlink].join();
      }).join(" "),
    };
    if (loop) parts["device"] = hash(Deno.readFileSync(loop));
    return parts;
  };
  const before = look();
  return {
    target: inside,
    beside,
    secret,
    elsewhere,
    device,
    changes() {
      const now = look();
      const changed = Object.keys(before).filter((part) => now[part] !== before[part]);
      const left = listFolder(inside).map(({ name }) => new TextDecoder().decode(name));
      return [...changed, ...left.map((name) => `left: ${name}`)];
    },
    async [Symbol.asyncDispose]() {
      if (loop) await sh("losetup", "-d", loop);
      if (root) await sh("umount", "-l", far.path);
      await near[Symbol.asyncDispose]();
      await far[Symbol.asyncDispose]();
    },
  };
}

function digestExceptTarget(folder: string): string {
  return digestOfFolder(folder, { skip: (path) => path === "target" });
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
