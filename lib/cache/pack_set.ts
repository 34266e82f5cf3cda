/**
 * The packs that are in force: named by the manifest `vectors/packs.json`, announced to
 * other processes by a counter in `vectors/packs.generation`, which they have mapped.
 */
import {
  close,
  fsync,
  O_CREAT,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  openAt,
  pwriteAll,
  renameAt,
  unlinkAt,
} from "../../ffi/files.ts";
import { Mapping, PAGE_BYTES } from "../../ffi/memory.ts";
import { fstat } from "../../ffi/stat.ts";
import { ftruncate } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { writeDurably } from "../base/durable.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { newKey, roomName } from "./key.ts";
import { usesName } from "./pack_uses.ts";
import { isResident, readAhead } from "./residency.ts";
import { deletedName, idxName, Pack, packName } from "./pack.ts";
import type { KeysOf } from "./pack_repair.ts";

const MANIFEST = "packs.json";
const GENERATION = "packs.generation";
const MANIFEST_VERSION = 1;
/** More packs than merging ever leaves; a limit on what a manifest may claim. */
const MAX_PACKS = 10_000;
const MAX_NUMBER = 2 ** 40;
const PACK_FILE = /^pack-(\d{1,12})\.pack$/;
const IDX_FILE = /^pack-(\d{1,12})\.idx$/;
const ANY_FILE = /^pack-(\d{1,12})\./;

/** The key that {@link PackSet} works on. */
const { bytes: keyBytes, words: keyWords } = newKey();

/** Where a key was found. */
export interface PackPlace {
  readonly pack: Pack;
  readonly record: number;
}

/** The open packs of one cache. */
export class PackSet implements Disposable {
  #packs: Pack[] = [];
  #rooms = new Map<string, Pack[]>();
  #broken: number[] = [];
  #generation: Uint32Array | null;
  readonly #generationMapping: Mapping | null;
  readonly #generationFd: number | null;
  #seen = -1;
  #next = 1;

  /**
   * @param folderFd the folder of vectors, open as long as this is used
   * @param names lists the folder, for when the manifest is damaged
   */
  constructor(
    private readonly folderFd: number,
    private readonly folder: string,
    private readonly names: () => string[],
    readonly readOnly: boolean,
  ) {
    this.#generationFd = openGeneration(folderFd, readOnly);
    const fd = this.#generationFd;
    const mapping = fd === null ? null : Mapping.ofFile(fd, PAGE_BYTES);
    this.#generation = mapping && new Uint32Array(mapping.buffer);
    this.#generationMapping = mapping;
    this.refresh();
  }

  /** The counter that changes with every change of the packs, in any process. */
  get generation(): number {
    return this.#generation === null ? 0 : this.#generation[0]!;
  }

  /**
   * A counter of the times that loose files were replaced, by any process: while it stays,
   * a loose file is the one that it was.
   */
  get replacements(): number {
    return this.#generation === null ? 0 : this.#generation[1]!;
  }

  /** To be called before loose files are replaced, while nobody else stores or removes. */
  noteReplacement(): void {
    this.#write(1, this.replacements + 1);
  }

  /** Looks again where another process changed something; true where one did. */
  refresh(): boolean {
    const generation = this.generation;
    if (generation === this.#seen) return false;
    this.#seen = generation;
    const known = new Map(this.#packs.map((pack) => [pack.number, pack]));
    const packs: Pack[] = [];
    this.#broken = [];
    for (const number of this.#numbers()) {
      const pack = known.get(number) ?? Pack.open(this.folderFd, number);
      if (!pack) {
        this.#broken.push(number);
        continue;
      }
      pack.readDeleted(this.folderFd);
      packs.push(pack);
    }
    const gone = this.#packs.filter((pack) => !packs.includes(pack));
    this.#packs = packs.sort((a, b) => b.number - a.number);
    this.#rooms = Map.groupBy(this.#packs, (pack) => roomName(pack.header.identity));
    for (const pack of gone) this.#inheritUses(pack);
    return true;
  }

  /** What was noted for a pack that was merged away counts for its successor. */
  #inheritUses(gone: Pack): void {
    gone.uses.drain((record, hits) => {
      for (const { pack, record: now } of this.places(gone.key(record).toHex())) {
        pack.uses.note(now, hits);
        return;
      }
    });
  }

  #numbers(): number[] {
    const manifest = readManifest(`${this.folder}/${MANIFEST}`);
    if (manifest) {
      this.#next = Math.max(this.#next, manifest.next);
      return manifest.packs;
    }
    // Lost, or never written. A pack gets its table last: one without was not finished.
    const names = this.names(), tables = numbersIn(names, IDX_FILE);
    return numbersIn(names, PACK_FILE).filter((number) => tables.includes(number));
  }

  /**
   * A number that no pack has or ever had: other processes may have an old one mapped.
   *
   * @param taken {@link numbersIn} the folder, listed under the lock of the packs
   */
  nextNumber(taken: readonly number[]): number {
    this.#next = taken.reduce((next, number) => Math.max(next, number + 1), this.#next);
    return this.#next++;
  }

  /** The numbers that any file in the folder has, published or not, whole or not. */
  numbersOnDisk(): number[] {
    return numbersIn(this.names());
  }

  /** All packs in force, the newest first. */
  all(): readonly Pack[] {
    return this.#packs;
  }

  /** The packs of a model, the newest first. @param room {@link roomName} */
  of(room: string): readonly Pack[] {
    return this.#rooms.get(room) ?? NONE;
  }

  /** Numbers in the manifest whose files are missing or have a wrong header. */
  broken(): readonly number[] {
    return this.#broken;
  }

  /** Writes the uses noted since the last time. */
  flushUses(nowMs: number): void {
    this.refresh();
    for (const pack of this.#packs) pack.uses.flush(this.folderFd, pack.number, nowMs);
  }

  /** Where a key is, in any pack of a model; the newest wins. */
  find(room: string, key: string): PackPlace | null {
    keyBytes.setFromHex(key);
    for (const pack of this.of(room)) {
      const record = pack.find(keyWords);
      if (record >= 0) return { pack, record };
    }
    return null;
  }

  /** True where a model's packs are nearly all in memory: then reads need no help. */
  areResident(room: string): boolean {
    return this.of(room).every((pack) => isResident(pack.mapping));
  }

  /**
   * Has the kernel read the records of keys ahead, sorted and joined, without waiting.
   *
   * @param keys undefined ones are passed over
   */
  prefetch(room: string, keys: readonly (string | undefined)[]): void {
    for (const pack of this.of(room)) {
      const offsets: number[] = [];
      for (const key of keys) {
        if (key === undefined) continue;
        keyBytes.setFromHex(key);
        const record = pack.candidate(keyWords);
        if (record >= 0) offsets.push(pack.offset(record));
      }
      readAhead(pack.mapping, offsets, pack.header.recordBytes);
    }
  }

  /** Every pack that has a key. */
  places(key: string): PackPlace[] {
    keyBytes.setFromHex(key);
    const places: PackPlace[] = [];
    for (const pack of this.#packs) {
      const record = pack.find(keyWords);
      if (record >= 0) places.push({ pack, record });
    }
    return places;
  }

  /**
   * Puts a set of packs in force. Their files are on the disk already.
   *
   * @param numbers all that shall be in force
   */
  publish(numbers: readonly number[]): void {
    this.#next = Math.max(this.#next, ...numbers.map((number) => number + 1));
    const text = JSON.stringify({
      version: MANIFEST_VERSION,
      next: this.#next,
      packs: numbers,
    });
    writeDurably(
      `${this.folder}/${MANIFEST}`,
      new TextEncoder().encode(text + "\n"),
    );
    this.announce();
  }

  /** Tells every process to look again. */
  announce(): void {
    this.#write(0, this.generation + 1);
    this.refresh();
  }

  #write(word: number, value: number): void {
    if (this.#generationFd === null) return;
    const next = new Uint32Array([value >>> 0]);
    // Written, not stored through the mapping: on a full disk that would be a SIGBUS.
    pwriteAll(this.#generationFd, new Uint8Array(next.buffer), word * 4);
  }

  /** Marks keys as deleted in every pack. Returns how many records that were. */
  delete(keys: Iterable<string>): number {
    const doomed = new Map<Pack, number[]>();
    let count = 0;
    for (const key of keys) {
      for (const { pack, record } of this.places(key)) {
        const records = doomed.get(pack) ?? [];
        if (records.push(record) === 1) doomed.set(pack, records);
        count++;
      }
    }
    this.deleteRecords(doomed);
    return count;
  }

  /** Marks records as deleted. */
  deleteRecords(doomed: ReadonlyMap<Pack, readonly number[]>): void {
    for (const [pack, records] of doomed) {
      const path = `${this.folder}/${deletedName(pack.number)}`;
      writeDurably(path, pack.withDeleted(records));
    }
    if (doomed.size > 0) this.announce();
  }

  /** Writes the tables of packs anew. @param keysOf keys that the index knows */
  rebuildTables(damaged: readonly Pack[], keysOf: KeysOf): void {
    for (const pack of damaged) {
      const table = pack.newTable(keysOf);
      if (table) writeDurably(`${this.folder}/${idxName(pack.number)}`, table);
    }
    if (damaged.length > 0) this.#reopen();
  }

  /**
   * Takes packs that cannot be opened out of force. Their files are renamed, not deleted.
   * Where only the table is missing or damaged, it is built anew instead.
   *
   * @param keysOf keys that the index knows
   */
  setAside(numbers: readonly number[], keysOf: KeysOf): void {
    if (numbers.length === 0) return;
    const lost = numbers.filter((number) => {
      const table = Pack.tableOf(this.folderFd, number, keysOf);
      if (table) writeDurably(`${this.folder}/${idxName(number)}`, table);
      return table === null;
    });
    for (const name of lost.map(packName)) {
      try {
        renameAt(this.folderFd, name, this.folderFd, `${name}.damaged`);
      } catch (error) {
        if (!isSysError(error, "ENOENT")) throw error;
      }
    }
    const known = [...this.#packs.map(({ number }) => number), ...this.#broken];
    this.publish(known.filter((number) => !lost.includes(number)).sort((a, b) => a - b));
  }

  #reopen(): void {
    this.#packs = [];
    this.announce();
  }

  /** Removes the files of packs that are not in force any more. */
  removeFiles(numbers: Iterable<number>): void {
    for (const number of numbers) {
      for (const name of namesOf(number)) {
        try {
          unlinkAt(this.folderFd, name);
        } catch (error) {
          if (!isSysError(error, "ENOENT")) throw error;
        }
      }
    }
    fsync(this.folderFd, this.folder);
  }

  [Symbol.dispose](): void {
    if (this.#generationFd !== null) close(this.#generationFd);
    // Nobody else sees this view, so it can go at once; the packs' go when collected.
    this.#generation = null;
    this.#generationMapping?.close();
    this.#packs = [];
    this.#rooms.clear();
  }
}

/** The numbers of the packs' files among a folder's names, each once, sorted. */
export function numbersIn(names: readonly string[], pattern = ANY_FILE): number[] {
  const numbers = new Set<number>();
  for (const name of names) {
    const match = pattern.exec(name);
    if (match) numbers.add(Number(match[1]));
  }
  return [...numbers].sort((a, b) => a - b);
}

function namesOf(number: number): string[] {
  return [idxName(number), packName(number), deletedName(number), usesName(number)];
}

const NONE: readonly Pack[] = [];

function openGeneration(folderFd: number, readOnly: boolean): number | null {
  const flags = O_NOFOLLOW | (readOnly ? O_RDONLY : O_RDWR | O_CREAT);
  try {
    const fd = openAt(folderFd, GENERATION, flags, 0o644);
    // It only ever grows: a mapping of it is never cut short.
    if (fstat(fd).sizeBytes >= PAGE_BYTES) return fd;
    if (!readOnly) {
      ftruncate(fd, PAGE_BYTES);
      return fd;
    }
    close(fd);
    return null;
  } catch (error) {
    if (readOnly && isSysError(error, "ENOENT")) return null;
    throw error;
  }
}

interface Manifest {
  readonly next: number;
  readonly packs: number[];
}

/** A manifest; null where there is none or it is damaged. */
function readManifest(path: string): Manifest | null {
  let text: string;
  try {
    text = readTextFile(path);
  } catch (error) {
    if (isSysError(error, "ENOENT", "EFBIG")) return null;
    throw error;
  }
  const isNumber = (n: unknown) =>
    Number.isInteger(n) && Number(n) > 0 && Number(n) < MAX_NUMBER;
  try {
    const found = JSON.parse(text) as Record<string, unknown>;
    const { version, next, packs } = found;
    const right = version === MANIFEST_VERSION && isNumber(next) &&
      Array.isArray(packs) && packs.length <= MAX_PACKS && packs.every(isNumber);
    return right ? { next: Number(next), packs: packs as number[] } : null;
  } catch {
    return null; // damaged: the files themselves say what there is
  }
}
