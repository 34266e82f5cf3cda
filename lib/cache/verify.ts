/** Checks every vector against its checksum and its row, and heals what is to be healed. */
import { OpError } from "../base/errors.ts";
import type { CacheIndex } from "./index.ts";
import { KEY_BYTES } from "./key.ts";
import type { Pack } from "./pack.ts";
import type { Store } from "./store.ts";

/** What a check found. */
export interface VerifyReport {
  /** Vectors that were read and compared with their checksum. */
  readonly checked: number;
  /** Keys whose bytes are damaged: wrong magic, size, checksum. */
  readonly damaged: readonly string[];
  /** Keys that have a row but no bytes. */
  readonly missing: readonly string[];
  /** Keys that have sound bytes but no row: a writer was killed between the two. */
  readonly orphans: readonly string[];
  /** Packs that cannot be opened, or whose table is damaged, by number. */
  readonly packs: readonly number[];
  /** Keys of files that have no row and are cut short: a writer is at them, or was killed. */
  readonly unfinished: readonly string[];
  /** Temporary files of writers that are gone. */
  readonly temporaries: readonly string[];
  /** What SQLite says of its own file. */
  readonly index: readonly string[];
  /** True when damaged and missing entries were dropped and orphans got a row. */
  readonly repaired: boolean;
}

/** True when nothing is wrong that an answer could suffer from. Orphans are harmless. */
export function isSound(report: VerifyReport): boolean {
  return report.repaired ||
    (report.damaged.length === 0 && report.missing.length === 0 &&
      report.packs.length === 0 && report.index.length === 0);
}

/** Options of a check. */
export interface VerifyOptions {
  /** Drops damaged and missing entries (the next use computes them), adopts orphans. */
  readonly repair?: boolean;
  readonly signal?: AbortSignal;
  readonly progress?: (done: number, total: number) => void;
}

const REPORT_EVERY = 1024;
const KEY_HEX = /^[0-9a-f]{64}$/;

/** Checks everything. Reads every vector once. */
export function verify(store: Store, options: VerifyOptions = {}): VerifyReport {
  const check = new Check(store, options);
  check.run();
  if (options.repair && check.report.index.length === 0) {
    const healed = store.removing(() => check.heal());
    return { ...check.report, ...healed, repaired: true };
  }
  return check.report;
}

class Check {
  readonly report = {
    checked: 0,
    damaged: [] as string[],
    missing: [] as string[],
    orphans: [] as string[],
    unfinished: [] as string[],
    packs: [] as number[],
    temporaries: [] as string[],
    index: [] as string[],
    repaired: false,
  };
  #total = 0;

  constructor(private readonly store: Store, private readonly options: VerifyOptions) {}

  run(): void {
    const { index, loose, packs } = this.store;
    packs.refresh();
    this.report.index = index.check();
    const files = loose.keys();
    this.#total = files.length + packs.all().reduce((sum, { count }) => sum + count, 0);
    for (const key of files) this.#file(key);
    for (const pack of packs.all()) this.#pack(pack);
    this.report.packs.push(...packs.broken());
    if (this.#indexIsSound) this.#rows();
    this.report.temporaries = loose.staleTemporaries(Date.now());
  }

  get #indexIsSound(): boolean {
    return this.report.index.length === 0;
  }

  #file(key: string): void {
    this.#tick();
    const found = this.store.loose.readRaw(key);
    if (found === "missing") return; // removed meanwhile
    if (found === "damaged") {
      // Without a row it is no entry but a file that a writer is at, or died at.
      if (!this.#indexIsSound || this.store.index.has(key)) this.report.damaged.push(key);
      else this.report.unfinished.push(key);
    } else if (this.#indexIsSound && !this.store.index.has(key)) {
      this.report.orphans.push(key);
    }
  }

  #pack(pack: Pack): void {
    if (!pack.isTableSound()) this.report.packs.push(pack.number);
    for (let record = 0; record < pack.count; record++) {
      this.#tick();
      if (pack.isDeleted(record)) continue;
      const key = pack.key(record).toHex();
      if (!pack.isSound(record)) this.report.damaged.push(key);
      else if (this.#indexIsSound && !this.store.index.has(key)) {
        this.report.orphans.push(key);
      }
    }
  }

  #tick(): void {
    if (++this.report.checked % REPORT_EVERY !== 0) return;
    this.options.signal?.throwIfAborted();
    this.options.progress?.(this.report.checked, this.#total);
  }

  #rows(): void {
    for (const row of this.store.index.iterate("SELECT key FROM entries")) {
      const bytes = row.key;
      const key = bytes instanceof Uint8Array && bytes.length === KEY_BYTES
        ? bytes.toHex()
        : null;
      if (key === null || !this.#hasBytes(key)) {
        this.report.missing.push(key ?? String(bytes));
      }
    }
  }

  #hasBytes(key: string): boolean {
    const { loose, packs } = this.store;
    packs.refresh();
    if (packs.places(key).length > 0 || loose.stat(key)) return true;
    // Looked at between the two steps of a compaction in another process?
    return packs.refresh() && packs.places(key).length > 0;
  }

  /**
   * Looks at each finding again: with the gate closed nobody is amid storing, and a table
   * that was built anew has keys again that seemed to be missing.
   *
   * @returns what was dropped, and what was adopted
   */
  heal(): Pick<VerifyReport, "damaged" | "missing" | "orphans"> {
    const { index, loose, packs } = this.store;
    const isKey = (key: string) => KEY_HEX.test(key);
    const suspects = [...this.report.damaged, ...this.report.unfinished];
    const looseDamaged = suspects.filter((key) => loose.readRaw(key) === "damaged");
    loose.remove(looseDamaged);
    const keysOf = (start: Uint8Array) => index.keysFrom(start);
    packs.setAside([...packs.broken()], keysOf);
    // Before any record is judged: a wrong key makes a sound record look damaged.
    packs.rebuildTables(packs.all().filter((pack) => !pack.isTableSound()), keysOf);
    const dropped = new Set([...looseDamaged, ...this.#dropDamagedRecords()]);
    const gone = new Set(
      [...this.report.damaged, ...this.report.missing].filter((key) =>
        isKey(key) && index.has(key) && !this.store.raw(key)
      ),
    );
    index.transaction(() => {
      index.remove(gone);
      index.run(`DELETE FROM entries WHERE length(key) <> ${KEY_BYTES}`);
      adopt(this.store, this.report.orphans);
    });
    loose.removeTemporaries(this.report.temporaries);
    const { damaged, missing, orphans } = this.report;
    return {
      damaged: damaged.filter((key) => dropped.has(key) || gone.has(key)),
      missing: missing.filter((key) => !isKey(key) || gone.has(key)),
      orphans: orphans.filter((key) => this.store.raw(key) !== null),
    };
  }

  /** Returns their keys. */
  #dropDamagedRecords(): string[] {
    const { packs } = this.store;
    const doomed = new Map<Pack, number[]>();
    for (const pack of packs.all()) {
      const records: number[] = [];
      for (let record = 0; record < pack.count; record++) {
        if (!pack.isDeleted(record) && !pack.isSound(record)) records.push(record);
      }
      if (records.length > 0) doomed.set(pack, records);
    }
    packs.deleteRecords(doomed);
    return [...doomed].flatMap(([pack, records]) =>
      records.map((record) => pack.key(record).toHex())
    );
  }
}

/** Gives sound bytes rows. The text comes with the next use; the model too, if loose. */
export function adopt(store: Store, keys: Iterable<string>): number {
  const { index, loose, packs } = store;
  let adopted = 0;
  for (const key of keys) {
    const header = store.raw(key);
    if (!header) continue;
    const { codec, dimensions, payloadBytes } = header;
    const entry = {
      key,
      codec: codec.id,
      dimensions,
      sizeBytes: payloadBytes,
      text: null,
    };
    const place = packs.places(key)[0];
    const model = place ? index.modelId(place.pack.header.identity) : null;
    index.put(entry, model, loose.stat(key)?.modifiedMs ?? Date.now());
    adopted++;
  }
  return adopted;
}

/** Every key that has bytes, loose or in a pack. */
export function* keysOnDisk(store: Store): Generator<string> {
  yield* store.loose.keys();
  for (const pack of store.packs.all()) {
    for (let record = 0; record < pack.count; record++) {
      if (!pack.isDeleted(record)) yield pack.key(record).toHex();
    }
  }
}

/** True for an index that `cache verify --repair` may replace; a newer one it may not. */
export function isRebuildable(error: unknown): error is OpError {
  return error instanceof OpError &&
    (error.code === "index_damaged" || error.code === "index_foreign");
}

/** True where SQLite finds nothing wrong with its file. */
export function isIndexSound(index: CacheIndex): boolean {
  return index.check().length === 0;
}
