/**
 * Route B: one file that needs no denort. A POSIX shell header (header.sh), then gzip
 * members: the deno binary, the bundle, the assets. gzip, because Debian's essential set
 * has neither xz nor zstd.
 */
import { gzip } from "node:zlib";
import { promisify } from "node:util";
import { createHash } from "node:crypto";
import { permissionFlags } from "../permissions.ts";
import { type Arch, type Built, MAIN } from "./build.ts";

const HEADER = new URL("./header.sh", import.meta.url);
/** Name of the program: of the file, of the unpacked runtime (as `ps` shows it). */
const APP = "op-dbus";
const GZIP_LEVEL = 9;
/** Hex digits of the folder that a build unpacks to; header.sh looks for as many. */
const ID_LENGTH = 16;

interface Member {
  readonly name: string;
  readonly packed: Uint8Array;
  readonly size: number;
  readonly sha256: string;
}

function sha256(...parts: (Uint8Array | string)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/** gzip without time or name in its header: the same input gives the same bytes. */
async function pack(name: string, data: Uint8Array): Promise<Member> {
  const packed = await promisify(gzip)(data, { level: GZIP_LEVEL });
  return { name, packed, size: data.length, sha256: sha256(data) };
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
  const names = [MAIN, ...built.assets];
  const members = await Promise.all([
    pack(APP, deno),
    ...names.map(async (name) =>
      pack(name, await Deno.readFile(`${built.folder}/${name}`))
    ),
  ]);
  const header = headerFor(built, arch, members);
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  try {
    for (const part of [new TextEncoder().encode(header), ...members.map(packedOf)]) {
      for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
    }
    await file.sync();
  } finally {
    file.close();
  }
  await Deno.chmod(path, 0o755);
}

const packedOf = ({ packed }: Member) => packed;

/** The header, with the offsets that its own length decides. */
export function headerFor(built: Built, arch: Arch, members: readonly Member[]): string {
  const template = Deno.readTextFileSync(HEADER);
  const permissions = permissionFlags().join(" ");
  const id = sha256(template, permissions, ...members.map((member) => member.sha256))
    .slice(0, ID_LENGTH);
  const sorted = [...members].sort((a, b) => (a.name < b.name ? -1 : 1));
  const rest = members.slice(1).map(({ name }) => name).join(" ");
  const fill = (start: number): string => {
    let offset = start + 1;
    const table = members.map(({ name, packed, size, sha256 }) => {
      const line = `${name} ${offset} ${packed.length} ${size} ${sha256}`;
      offset += packed.length;
      return line;
    });
    const values: Record<string, string> = {
      APP,
      ARCH: arch,
      ENV: "OPDBUS",
      FILES: table.join("\n"),
      ID: id,
      MAIN,
      PERMISSIONS: permissions,
      READY: sorted.map(({ name }) => `"$dir/${name}"`).join(" "),
      REST: rest,
      SIZE: String(offset - 1),
      SIZES: sorted.map(({ size }) => size).join(" "),
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
