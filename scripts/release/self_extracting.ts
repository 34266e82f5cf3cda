/**
 * Route B: one file that needs no denort. A POSIX shell header (header.sh), then gzip
 * members: the deno binary, and everything else in one piece. gzip, because Debian's essential set
 * has neither xz nor zstd.
 */
import { gzip } from "node:zlib";
import { promisify } from "node:util";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { permissionFlags } from "../permissions.ts";
import { type Arch, type Built, MAIN } from "./build.ts";

const HEADER = new URL("./header.sh", import.meta.url);
/** Name of the program: of the file, of the unpacked runtime (as `ps` shows it). */
const APP = "op-dbus";
const GZIP_LEVEL = 9;
/** Hex digits of the folder that a build unpacks to; header.sh looks for as many. */
const ID_LENGTH = 16;

/** One file inside. */
export interface Part {
  /** Where it is unpacked to: `op-dbus`, `app/main.js`. */
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
}

function sha256(...parts: (Uint8Array | string)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

function partOf(name: string, data: Uint8Array): Part {
  return { name, size: data.length, sha256: sha256(data) };
}

/** gzip without time or name in its header: the same input gives the same bytes. */
function pack(data: Uint8Array): Promise<Uint8Array> {
  return promisify(gzip)(data, { level: GZIP_LEVEL });
}

/**
 * @param deno the deno binary of the target's architecture
 * @param path where to write the executable
 */
export async function writeSelfExtracting(
  built: Built,
  arch: Arch,
  deno: Uint8Array,
  path: string,
): Promise<void> {
  const files = await Promise.all(
    built.files.map((name) => Deno.readFile(`${built.folder}/${name}`)),
  );
  const parts = [
    partOf(APP, deno),
    ...files.map((data, index) => partOf(`app/${built.files[index]}`, data)),
  ];
  // Small parts first: header.sh cuts the pack with tail, which may read up to a part.
  const members = await Promise.all([pack(deno), pack(Buffer.concat(files))]);
  const header = headerFor(built, arch, parts, members.map(({ length }) => length));
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  try {
    for (const piece of [new TextEncoder().encode(header), ...members]) {
      for (let at = 0; at < piece.length;) at += await file.write(piece.subarray(at));
    }
    await file.sync();
  } finally {
    file.close();
  }
  await Deno.chmod(path, 0o755);
}

/** The header, with the offsets that its own length decides. */
function headerFor(
  built: Built,
  arch: Arch,
  parts: readonly Part[],
  [runtimeLength = 0, packLength = 0]: readonly number[],
): string {
  const template = Deno.readTextFileSync(HEADER);
  const permissions = permissionFlags().join(" ");
  const table = parts.map(({ name, size, sha256 }) => `${name} ${size} ${sha256}`);
  const sizeOf = (name: string) => parts.find((part) => part.name === name)!.size;
  const fill = (start: number): string => {
    const values: Record<string, string> = {
      APP,
      ARCH: arch,
      ENV: "OPDBUS",
      ID: sha256(template, permissions, ...table).slice(0, ID_LENGTH),
      MAIN: `app/${MAIN}`,
      PACK: `${start + runtimeLength + 1} ${packLength}`,
      PARTS: table.join("\n"),
      PERMISSIONS: permissions,
      RUNTIME: `${start + 1} ${runtimeLength}`,
      SIZE: String(start + runtimeLength + packLength),
      // In the byte order of their paths: app/main.js before op-dbus.
      SIZES: `${sizeOf(`app/${MAIN}`)} ${sizeOf(APP)}`,
      VERSION: built.version,
    };
    return template.replace(/@([A-Z]+)@/g, (whole, name) => values[name] ?? whole);
  };
  // The offsets' digits are part of the header's length: settle it.
  let start = 0;
  for (;;) {
    const text = fill(start);
    const length = new TextEncoder().encode(text).length;
    if (length === start) return text;
    start = length;
  }
}
