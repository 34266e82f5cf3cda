/** Where things are under the root. Paths only: nothing here touches the disk. */

/** Default root. */
export const DEFAULT_ROOT = "/var/lib/op-dbus";

/** Every path of the root layout (DESIGN.md, "Root layout"). */
export class Layout {
  /** @param root absolute path of the root folder, no trailing slash */
  constructor(readonly root: string) {
    if (!root.startsWith("/")) throw new TypeError(`Root is not absolute: ${root}`);
  }

  get cache(): string {
    return `${this.root}/@cache`;
  }
  get embeddings(): string {
    return `${this.cache}/embeddings`;
  }
  get index(): string {
    return `${this.embeddings}/index.db`;
  }
  get vectors(): string {
    return `${this.embeddings}/vectors`;
  }
  get queries(): string {
    return `${this.cache}/queries`;
  }
  get blocksByNumber(): string {
    return `${this.cache}/blocks/by-number`;
  }
  get blocksByHash(): string {
    return `${this.cache}/blocks/by-hash`;
  }
  get diffs(): string {
    return `${this.cache}/diffs`;
  }
  get cacheSnapshots(): string {
    return `${this.root}/@cache-snapshots`;
  }
  get pluginSnapshots(): string {
    return `${this.root}/@plugin-snapshots`;
  }
  get timing(): string {
    return `${this.root}/@timing`;
  }
  get chainVectors(): string {
    return `${this.root}/@vectors`;
  }
  get state(): string {
    return `${this.root}/@state`;
  }
  /** Embedding models, by name. */
  get models(): string {
    return `${this.root}/models`;
  }
  /** Locks, records of verified snapshots, keys: small files that are nobody's content. */
  get meta(): string {
    return `${this.root}/meta`;
  }
  /** @param name a plugin's name, already checked */
  plugin(name: string): string {
    return `${this.root}/@plugin-${name}`;
  }
  /** The lock file of one area, e.g. `cache`, `snapshot`, `plugin`. */
  lock(area: string): string {
    return `${this.meta}/${area}.lock`;
  }
}
