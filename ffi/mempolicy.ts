/**
 * NUMA memory policy: mbind, set_mempolicy, get_mempolicy, move_pages. Through libnuma
 * where it is installed, else by system call: the C library has no wrappers.
 *
 * Source: linux/mempolicy.h; man-pages mbind(2), get_mempolicy(2), move_pages(2).
 */
import { arch } from "./arch.ts";
import { errno, sys } from "./libc.ts";
import { SysError } from "./errno.ts";
import { LibraryMissingError, openSystemLibrary } from "./library.ts";
import { type Mapping, PAGE_BYTES } from "./memory.ts";

export const MPOL_DEFAULT = 0;
export const MPOL_PREFERRED = 1;
export const MPOL_BIND = 2;
export const MPOL_INTERLEAVE = 3;
export const MPOL_LOCAL = 4;

/** Also moves pages that are there already. */
export const MPOL_MF_MOVE = 2;
const MPOL_F_NODE = 1;
const MPOL_F_ADDR = 2;
const MPOL_F_MEMS_ALLOWED = 4;

/** More nodes than any kernel is built for (NODES_SHIFT is 10 at most). */
const MAX_NODES = 1024;
/** Pages asked about in one call of move_pages. */
const PAGES_PER_CALL = 16_384;

const NUMA_SYMBOLS = {
  /** long mbind(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned) */
  mbind: { parameters: ["u64", "u64", "i32", "buffer", "u64", "u32"], result: "i64" },
  /** long set_mempolicy(int mode, const unsigned long *nodemask, unsigned long maxnode) */
  set_mempolicy: { parameters: ["i32", "buffer", "u64"], result: "i64" },
  /** long get_mempolicy(int *, unsigned long *, unsigned long maxnode, void *, unsigned) */
  get_mempolicy: { parameters: ["buffer", "buffer", "u64", "u64", "u64"], result: "i64" },
  /** long move_pages(int pid, unsigned long n, void **, const int *nodes, int *, int) */
  move_pages: {
    parameters: ["i32", "u64", "buffer", "u64", "buffer", "i32"],
    result: "i64",
  },
} as const;

type Numa = Deno.DynamicLibrary<typeof NUMA_SYMBOLS>["symbols"];
let numa: Numa | null | undefined;

/** libnuma's functions, or null where it is not installed. */
function libnuma(): Numa | null {
  if (numa !== undefined) return numa;
  try {
    return numa = openSystemLibrary("libnuma.so.1", NUMA_SYMBOLS).symbols;
  } catch (error) {
    if (error instanceof LibraryMissingError) return numa = null;
    throw error;
  }
}

/** True where libnuma is installed. */
export function hasLibnuma(): boolean {
  return libnuma() !== null;
}

/** syscall(2), but with the error's number negated in place of -1, as the kernel has it. */
function raw(number: number, ...args: bigint[]): bigint {
  const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n] = args;
  const result = sys.syscall(BigInt(number), a, b, c, d, e, f);
  return result < 0n ? BigInt(-errno[0]) : result;
}

function addressOf(buffer: BufferSource | null): bigint {
  return buffer === null
    ? 0n
    : Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer as Uint8Array<ArrayBuffer>));
}

function checkLong(result: bigint, call: string, what = ""): void {
  if (result < 0n) throw new SysError(call, what, Number(-result));
}

function maskOf(nodes: readonly number[]): BigUint64Array<ArrayBuffer> {
  const mask = new BigUint64Array(MAX_NODES / 64);
  for (const node of nodes) {
    if (!Number.isInteger(node) || node < 0 || node >= MAX_NODES) {
      throw new RangeError(`Node ${node} is not in 0..${MAX_NODES - 1}`);
    }
    mask[node >> 6]! |= 1n << BigInt(node & 63);
  }
  return mask;
}

function nodesOf(mask: BigUint64Array): number[] {
  const nodes: number[] = [];
  for (let node = 0; node < mask.length * 64; node++) {
    if (mask[node >> 6]! >> BigInt(node & 63) & 1n) nodes.push(node);
  }
  return nodes;
}

/** The kernel counts one bit fewer than it is told (man-pages, get_mempolicy BUGS). */
const MAX_NODE_ARGUMENT = BigInt(MAX_NODES + 1);

/**
 * mbind(2) of a whole mapping.
 *
 * @param mode MPOL_*
 * @param nodes node numbers; none for MPOL_DEFAULT and MPOL_LOCAL
 * @param flags MPOL_MF_MOVE or 0
 * @throws {SysError} EINVAL for a node without memory or not allowed, ENOSYS without NUMA
 */
export function bindMapping(
  mapping: Mapping,
  mode: number,
  nodes: readonly number[],
  flags = 0,
): void {
  const mask = nodes.length > 0 ? maskOf(nodes) : null;
  const address = Deno.UnsafePointer.value(mapping.address);
  const length = BigInt(Math.ceil(mapping.length / PAGE_BYTES) * PAGE_BYTES);
  const max = mask ? MAX_NODE_ARGUMENT : 0n;
  const lib = libnuma();
  const result = lib ? lib.mbind(address, length, mode, mask, max, flags) : raw(
    arch.syscall.mbind,
    address,
    length,
    BigInt(mode),
    addressOf(mask),
    max,
    BigInt(flags),
  );
  checkLong(result, "mbind", `nodes ${nodes.join(",")}`);
}

/** set_mempolicy(2): for what this thread allocates from now on. */
export function setThreadPolicy(mode: number, nodes: readonly number[]): void {
  const mask = nodes.length > 0 ? maskOf(nodes) : null;
  const max = mask ? MAX_NODE_ARGUMENT : 0n;
  const lib = libnuma();
  const result = lib
    ? lib.set_mempolicy(mode, mask, max)
    : raw(arch.syscall.set_mempolicy, BigInt(mode), addressOf(mask), max);
  checkLong(result, "set_mempolicy", `nodes ${nodes.join(",")}`);
}

/** A policy as the kernel has it. */
export interface MemoryPolicy {
  /** MPOL_*, without flags. */
  readonly mode: number;
  readonly nodes: readonly number[];
}

const MODE_BITS = 0xff;

/** get_mempolicy(2). @param mapping whose policy; default this thread's */
export function getPolicy(mapping?: Mapping): MemoryPolicy {
  const mode = new Int32Array(1), mask = new BigUint64Array(MAX_NODES / 64);
  const address = mapping ? Deno.UnsafePointer.value(mapping.address) : 0n;
  getMempolicy(mode, mask, address, mapping ? MPOL_F_ADDR : 0);
  return { mode: mode[0]! & MODE_BITS, nodes: nodesOf(mask) };
}

/** The nodes that this process may take memory from (its cpuset). */
export function allowedNodes(): number[] {
  const mask = new BigUint64Array(MAX_NODES / 64);
  getMempolicy(null, mask, 0n, MPOL_F_MEMS_ALLOWED);
  return nodesOf(mask);
}

/** The node that the page at an offset of a mapping is on; faults it in. */
export function nodeAt(mapping: Mapping, offset: number): number {
  const node = new Int32Array(1);
  const address = Deno.UnsafePointer.value(mapping.address) + BigInt(offset);
  getMempolicy(node, null, address, MPOL_F_NODE | MPOL_F_ADDR);
  return node[0]!;
}

function getMempolicy(
  mode: Int32Array<ArrayBuffer> | null,
  mask: BigUint64Array<ArrayBuffer> | null,
  address: bigint,
  flags: number,
): void {
  const lib = libnuma();
  const max = mask ? MAX_NODE_ARGUMENT : 0n;
  const result = lib ? lib.get_mempolicy(mode, mask, max, address, BigInt(flags)) : raw(
    arch.syscall.get_mempolicy,
    addressOf(mode),
    addressOf(mask),
    max,
    address,
    BigInt(flags),
  );
  checkLong(result, "get_mempolicy");
}

/**
 * Where the pages of a mapping are, by move_pages(2) without moving any.
 *
 * @param pages indexes of pages; default all
 * @returns per page its node, or a negative errno (-2: not there)
 */
export function pageNodes(mapping: Mapping, pages?: readonly number[]): Int32Array {
  const count = pages?.length ?? Math.ceil(mapping.length / PAGE_BYTES);
  const status = new Int32Array(count);
  const base = Deno.UnsafePointer.value(mapping.address);
  for (let from = 0; from < count; from += PAGES_PER_CALL) {
    const length = Math.min(PAGES_PER_CALL, count - from);
    const addresses = BigUint64Array.from(
      { length },
      (_, i) => base + BigInt((pages ? pages[from + i]! : from + i) * PAGE_BYTES),
    );
    const into = new Int32Array(length);
    movePages(addresses, into);
    status.set(into, from);
  }
  return status;
}

function movePages(
  addresses: BigUint64Array<ArrayBuffer>,
  status: Int32Array<ArrayBuffer>,
): void {
  const lib = libnuma();
  const count = BigInt(addresses.length);
  const result = lib ? lib.move_pages(0, count, addresses, 0n, status, 0) : raw(
    arch.syscall.move_pages,
    0n,
    count,
    addressOf(addresses),
    0n,
    addressOf(status),
    0n,
  );
  checkLong(result, "move_pages");
}
