/**
 * BTRFS_IOC_TREE_SEARCH_V2: reading the file system's own trees. Root only.
 *
 * Source: Linux `include/uapi/linux/btrfs.h`, `btrfs_tree.h`.
 */
import { BTRFS_REQUEST as REQUEST, SEARCH_HEAD_BYTES } from "./btrfs_requests.ts";
import { isSysError } from "./errno.ts";
import { ioctl } from "./ioctl.ts";

/** A key of a tree: items are sorted by it. */
export interface TreeKey {
  readonly objectid: bigint;
  readonly type: number;
  readonly offset: bigint;
}

/** One item that was found. */
export interface TreeItem extends TreeKey {
  /** Its bytes, valid until the next item is taken. */
  readonly data: DataView;
}

const BUFFER_BYTES = 64 * 1024;
const ITEM_HEAD_BYTES = 32;
const MAX_U64 = 2n ** 64n - 1n;
const MAX_U32 = 2 ** 32 - 1;

/**
 * The items of one object and type range, in key order.
 *
 * @param fd any folder of the file system
 * @param tree number of the tree: 1 the tree of roots, 8 quotas
 * @param from first key; @param to last key
 * @throws {SysError} EPERM when not root; ENOENT when there is no such tree
 */
export function* searchTree(
  fd: number,
  tree: bigint,
  from: TreeKey,
  to: TreeKey,
): Generator<TreeItem> {
  const raw = new Uint8Array(SEARCH_HEAD_BYTES + BUFFER_BYTES);
  const view = new DataView(raw.buffer);
  for (let at: TreeKey | null = from; at !== null;) {
    writeKey(view, tree, at, to);
    ioctl(fd, REQUEST.TREE_SEARCH_V2, raw, "btrfs tree search");
    const count = view.getUint32(64, true);
    if (count === 0) return;
    let offset = SEARCH_HEAD_BYTES, last: TreeKey = at;
    for (let i = 0; i < count; i++) {
      const length = view.getUint32(offset + 28, true);
      last = {
        objectid: view.getBigUint64(offset + 8, true),
        offset: view.getBigUint64(offset + 16, true),
        type: view.getUint32(offset + 24, true),
      };
      const data = new DataView(raw.buffer, offset + ITEM_HEAD_BYTES, length);
      yield { ...last, data };
      offset += ITEM_HEAD_BYTES + length;
    }
    at = after(last);
  }
}

/** `struct btrfs_ioctl_search_key`, then the buffer's size. */
function writeKey(view: DataView, tree: bigint, from: TreeKey, to: TreeKey): void {
  view.setBigUint64(0, tree, true);
  view.setBigUint64(8, from.objectid, true);
  view.setBigUint64(16, to.objectid, true);
  view.setBigUint64(24, from.offset, true);
  view.setBigUint64(32, to.offset, true);
  view.setBigUint64(40, 0n, true);
  view.setBigUint64(48, MAX_U64, true);
  view.setUint32(56, from.type, true);
  view.setUint32(60, to.type, true);
  view.setUint32(64, MAX_U32, true);
  view.setBigUint64(104, BigInt(BUFFER_BYTES), true);
}

/** The smallest key above one; null after the last. */
function after(key: TreeKey): TreeKey | null {
  if (key.offset < MAX_U64) return { ...key, offset: key.offset + 1n };
  if (key.type < 255) return { objectid: key.objectid, type: key.type + 1, offset: 0n };
  if (key.objectid === MAX_U64) return null;
  return { objectid: key.objectid + 1n, type: 0, offset: 0n };
}

const ROOT_TREE = 1n;
const ROOT_ITEM_KEY = 132;
const QUOTA_TREE = 8n;
const QGROUP_INFO_KEY = 242;

/** True while a deleted subvolume's space is not free yet (or it is not deleted at all). */
export function subvolumeLingers(fd: number, id: bigint): boolean {
  const key = { objectid: id, type: ROOT_ITEM_KEY };
  for (
    const _ of searchTree(fd, ROOT_TREE, { ...key, offset: 0n }, {
      ...key,
      offset: MAX_U64,
    })
  ) {
    return true;
  }
  return false;
}

/** Sizes of a subvolume, as quotas count them. */
export interface QuotaSize {
  /** All that it refers to. */
  readonly referencedBytes: number;
  /** What nothing else refers to: what deleting it would free. */
  readonly exclusiveBytes: number;
}

/**
 * The sizes of every subvolume by its number.
 *
 * @returns null where quotas are off, or this is not root
 */
export function quotaSizes(fd: number): Map<bigint, QuotaSize> | null {
  const sizes = new Map<bigint, QuotaSize>();
  const key = { objectid: 0n, type: QGROUP_INFO_KEY };
  try {
    const items = searchTree(fd, QUOTA_TREE, { ...key, offset: 0n }, {
      ...key,
      offset: MAX_U64,
    });
    for (const { offset, data } of items) {
      sizes.set(offset, {
        referencedBytes: Number(data.getBigUint64(8, true)),
        exclusiveBytes: Number(data.getBigUint64(24, true)),
      });
    }
  } catch (error) {
    if (isSysError(error, "ENOENT", "EPERM", "ENOTTY")) return null;
    throw error;
  }
  return sizes;
}
