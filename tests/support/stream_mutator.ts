/**
 * Mutants of valid send streams. Most keep their crc right, so that they get past it to
 * the code behind; the same seed gives the same mutant.
 */
import { below, oneOf, type Random } from "./random.ts";
import { concat, plainCrc } from "./stream_builder.ts";

const HEADER_BYTES = 17, COMMAND_HEADER = 10;

/** Values that have broken parsers before. */
const NUMBERS = [
  0n,
  1n,
  4095n,
  4096n,
  65535n,
  2n ** 20n,
  2n ** 31n - 1n,
  2n ** 32n,
  2n ** 47n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 64n - 1n,
  0o4777n,
  0o120777n,
];

/** One command, cut out of a stream. */
type Piece = Uint8Array<ArrayBuffer>;

/** Cuts a valid stream into its commands. */
export function commandsOf(stream: Uint8Array): Piece[] {
  const view = new DataView(stream.buffer, stream.byteOffset), pieces: Piece[] = [];
  for (let at = HEADER_BYTES; at < stream.length;) {
    const size = COMMAND_HEADER + view.getUint32(at, true);
    pieces.push(stream.slice(at, at + size) as Piece);
    at += size;
  }
  return pieces;
}

/** Where the attributes of a command are. In version 2 data run to the end. */
function attributesOf(piece: Piece, version: number) {
  const view = new DataView(piece.buffer), found = [];
  for (let at = COMMAND_HEADER; at + 4 <= piece.length;) {
    const type = view.getUint16(at, true);
    const open = type === 19 && version >= 2;
    const start = at + (open ? 2 : 4);
    const length = open ? piece.length - start : view.getUint16(at + 2, true);
    if (start + length > piece.length) break;
    found.push({ at, type, start, length });
    at = start + length;
  }
  return found;
}

function sealed(piece: Piece, keepLength = false): Piece {
  if (piece.length < COMMAND_HEADER) return piece;
  const view = new DataView(piece.buffer);
  if (!keepLength) view.setUint32(0, piece.length - COMMAND_HEADER, true);
  view.setUint32(6, 0, true);
  view.setUint32(6, plainCrc(piece), true);
  return piece;
}

/**
 * One mutant.
 *
 * @param streams valid streams to begin from
 * @param paths paths and targets to put in: the ones that an attack would use
 */
export function mutant(
  random: Random,
  streams: readonly Uint8Array[],
  paths: readonly Uint8Array[],
): Uint8Array {
  const base = oneOf(random, streams), version = base[13]!;
  let pieces = commandsOf(base);
  const rounds = 1 + below(random, 4);
  for (let round = 0; round < rounds; round++) {
    const at = below(random, pieces.length), kind = below(random, 12);
    if (kind === 0) pieces.splice(at, 1);
    else if (kind === 1) pieces.splice(at, 0, oneOf(random, pieces));
    else if (kind === 2) {
      pieces.splice(at, 0, oneOf(random, commandsOf(oneOf(random, streams))));
    } else if (kind === 3) {
      const other = below(random, pieces.length);
      [pieces[at], pieces[other]] = [pieces[other]!, pieces[at]!];
    } else if (kind === 4) pieces = pieces.slice(0, Math.max(1, at));
    else pieces[at] = mutatedCommand(random, pieces[at]!, version, paths);
    if (pieces.length === 0) break;
  }
  const bytes = concat(base.subarray(0, HEADER_BYTES), ...pieces);
  const raw = below(random, 20);
  if (raw === 0) bytes[below(random, bytes.length)]! ^= 1 << below(random, 8);
  if (raw === 1) return bytes.subarray(0, below(random, bytes.length));
  if (raw === 2) return concat(bytes, oneOf(random, pieces) ?? new Uint8Array(1));
  return bytes;
}

function mutatedCommand(
  random: Random,
  original: Piece,
  version: number,
  paths: readonly Uint8Array[],
): Piece {
  const piece = original.slice() as Piece, view = new DataView(piece.buffer);
  const attributes = attributesOf(piece, version);
  const attribute = attributes.length > 0 ? oneOf(random, attributes) : null;
  const kind = below(random, 9);
  if (kind === 0 || !attribute) {
    view.setUint16(4, below(random, 30), true); // another command, same attributes
  } else if (kind === 1 && attribute.length === 8) {
    view.setBigUint64(attribute.start, oneOf(random, NUMBERS), true);
  } else if (kind === 2) view.setUint16(attribute.at, below(random, 40), true);
  else if (kind === 3 && attribute.at + 4 <= piece.length) {
    view.setUint16(attribute.at + 2, below(random, 70_000) & 0xffff, true);
  } else if (kind === 4 && attribute.length > 0) {
    const at = attribute.start + below(random, attribute.length);
    piece[at] = below(random, 256);
  } else if (kind === 5) {
    view.setUint32(0, Number(oneOf(random, NUMBERS) & 0xffffffffn), true);
    return sealed(piece, true);
  } else if (kind === 6) { // the attribute out
    const end = attribute.start + attribute.length;
    return sealed(concat(piece.subarray(0, attribute.at), piece.subarray(end)));
  } else return withPath(random, piece, attributes, paths);
  return sealed(piece);
}

/** Puts one of the attack's paths where a path is. */
function withPath(
  random: Random,
  piece: Piece,
  attributes: ReturnType<typeof attributesOf>,
  paths: readonly Uint8Array[],
): Piece {
  const places = attributes.filter(({ type }) => [15, 16, 17, 22].includes(type));
  if (places.length === 0) return sealed(piece);
  const { at, start, length } = oneOf(random, places), path = oneOf(random, paths);
  const head = piece.slice(0, start);
  new DataView(head.buffer).setUint16(at + 2, path.length, true);
  return sealed(concat(head, path, piece.subarray(start + length)));
}
