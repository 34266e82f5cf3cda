/**
 * Send streams made by hand, right or wrong, for tests. Independent of lib/stream's
 * encoder: numbers are spelled out, and anything may be put anywhere.
 */

const TABLE = (() => {
  const table = new Uint32Array(256);
  for (let n = 0; n < 256; n++) {
    let crc = n;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    table[n] = crc;
  }
  return table;
})();

/** crc32c with seed 0 and no inversion, byte by byte. */
export function plainCrc(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255]!;
  return crc >>> 0;
}

/** Text as UTF-8, bytes as they are, a number or bigint as u64. */
export type Value = string | Uint8Array | number | bigint;

function bytesOf(value: Value): Uint8Array {
  if (typeof value === "string") return new TextEncoder().encode(value);
  if (value instanceof Uint8Array) return value;
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return out;
}

export function u32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}

export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** 12 bytes of time. */
export function time(seconds: number, nanoseconds = 0): Uint8Array {
  return concat(bytesOf(seconds), u32(nanoseconds));
}

/** One command with a right crc. In version 2 the data attribute has no length. */
export function command(
  number: number,
  attributes: readonly (readonly [number, Value])[],
  version = 1,
): Uint8Array<ArrayBuffer> {
  const body = concat(
    ...attributes.flatMap(([attribute, value]) => {
      const bytes = bytesOf(value), head = new Uint8Array(4);
      const view = new DataView(head.buffer);
      view.setUint16(0, attribute, true);
      view.setUint16(2, bytes.length, true);
      return [version >= 2 && attribute === 19 ? head.subarray(0, 2) : head, bytes];
    }),
  );
  return framed(number, body);
}

/** A command around any body, with a right crc. */
export function framed(number: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = concat(new Uint8Array(10), body), view = new DataView(out.buffer);
  view.setUint32(0, body.length, true);
  view.setUint16(4, number, true);
  view.setUint32(6, plainCrc(out), true);
  return out;
}

export function header(version = 1): Uint8Array {
  return concat(new TextEncoder().encode("btrfs-stream\0"), u32(version));
}

export const UUID = Uint8Array.from({ length: 16 }, (_, n) => n + 1);
export const OTHER_UUID = Uint8Array.from({ length: 16 }, (_, n) => 200 - n);

/** Commands by name, version 1. */
export const make = {
  subvol: (name = "tree") => command(1, [[15, name], [1, UUID], [2, 7]]),
  snapshot: (uuid = OTHER_UUID, ctransid = 5, name = "tree") =>
    command(2, [[15, name], [1, UUID], [2, 8], [20, uuid], [21, ctransid]]),
  mkfile: (path: Value) => command(3, [[15, path], [3, 257]]),
  mkdir: (path: Value) => command(4, [[15, path], [3, 258]]),
  mknod: (path: Value, mode: number, rdev: number) =>
    command(5, [[15, path], [3, 259], [8, rdev], [5, mode]]),
  mkfifo: (path: Value) => command(6, [[15, path], [3, 260], [8, 0], [5, 0o10600]]),
  mksock: (path: Value) => command(7, [[15, path], [3, 261], [8, 0], [5, 0o140600]]),
  symlink: (path: Value, target: Value) =>
    command(8, [[15, path], [3, 262], [17, target]]),
  rename: (from: Value, to: Value) => command(9, [[15, from], [16, to]]),
  link: (path: Value, existing: Value) => command(10, [[15, path], [17, existing]]),
  unlink: (path: Value) => command(11, [[15, path]]),
  rmdir: (path: Value) => command(12, [[15, path]]),
  setXattr: (path: Value, name: Value, value: Value) =>
    command(13, [[15, path], [13, name], [14, value]]),
  removeXattr: (path: Value, name: Value) => command(14, [[15, path], [13, name]]),
  write: (path: Value, offset: Value, data: Value) =>
    command(15, [[15, path], [18, offset], [19, data]]),
  clone: (
    path: Value,
    offset: Value,
    length: Value,
    from: Value,
    at: Value,
    uuid = UUID,
  ) =>
    command(16, [
      [18, offset],
      [24, length],
      [15, path],
      [20, uuid],
      [21, 7],
      [22, from],
      [23, at],
    ]),
  truncate: (path: Value, size: Value) => command(17, [[15, path], [4, size]]),
  chmod: (path: Value, mode: number) => command(18, [[15, path], [5, mode]]),
  chown: (path: Value, uid: number, gid: number) =>
    command(19, [[15, path], [6, uid], [7, gid]]),
  utimes: (path: Value, seconds = 1) =>
    command(20, [[15, path], [11, time(seconds)], [10, time(seconds)], [
      9,
      time(seconds),
    ]]),
  end: () => command(21, []),
  updateExtent: (path: Value) => command(22, [[15, path], [18, 0], [4, 4096]]),
  encodedWrite: (path: Value, parts: {
    offset?: number;
    fileLength: number;
    length: number;
    inner?: number;
    compression: number;
    data: Uint8Array;
  }) =>
    command(25, [
      [15, path],
      [18, parts.offset ?? 0],
      [27, parts.fileLength],
      [28, parts.length],
      [29, parts.inner ?? 0],
      [30, u32(parts.compression)],
      [31, u32(0)],
      [19, parts.data],
    ], 2),
};

/** A whole stream: header, subvol, the commands, END. */
export function stream(...commands: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return concat(header(), make.subvol(), ...commands, make.end());
}

/** {@link stream} in version 2. The commands must be built for it. */
export function stream2(...commands: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return concat(header(2), make.subvol(), ...commands, make.end());
}
