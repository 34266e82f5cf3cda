/** What a stream's tree amounts to, counted as it changes and held against the limits. */
import type { FileContent } from "./content.ts";
import { StreamError } from "./error.ts";
import type { StreamLimits } from "./limits.ts";
import type { TreeNode } from "./tree.ts";

/** What counts against the limits. */
export interface AuditTotals {
  /** Bytes of file data that commands carried, decoded. */
  writtenBytes: number;
  /** Lengths of all files. */
  totalBytes: number;
  coveredBytes: number;
  xattrBytes: number;
  extents: number;
}

/** Keeps the totals of a tree in step with its changes. */
export class TotalsCounter {
  readonly totals: AuditTotals = {
    writtenBytes: 0,
    totalBytes: 0,
    coveredBytes: 0,
    xattrBytes: 0,
    extents: 0,
  };
  readonly #limits: StreamLimits;
  readonly #at: () => number;
  /** Hard-linked nodes that were added already. */
  readonly #added = new Set<TreeNode>();

  /** @param at gives the offset in the stream, for messages */
  constructor(limits: StreamLimits, at: () => number) {
    this.#limits = limits;
    this.#at = at;
  }

  #limit(what: string): never {
    throw new StreamError("stream_limit", what, this.#at());
  }

  /** Adds a node of a base tree, a hard-linked one once. */
  add(node: TreeNode): void {
    if (node.links > 1) {
      if (this.#added.has(node)) return;
      this.#added.add(node);
    }
    for (const [name, value] of node.xattrs ?? []) {
      this.addXattrs(name.length + value.length);
    }
    if (node.content) this.#sum(node.content, 1);
  }

  /** Takes a node off whose last name is gone. */
  drop(node: TreeNode): void {
    if (node.links > 0) return;
    this.dropXattrs(node);
    if (node.content) this.#sum(node.content, -1);
  }

  /** Takes a node's attributes off. */
  dropXattrs(node: TreeNode): void {
    for (const [name, value] of node.xattrs ?? []) {
      this.totals.xattrBytes -= name.length + value.length;
    }
  }

  /** @param bytes of names and values, negative for fewer */
  addXattrs(bytes: number): void {
    this.totals.xattrBytes += bytes;
    if (this.totals.xattrBytes > this.#limits.xattrBytes) {
      this.#limit(`more than ${this.#limits.xattrBytes} bytes of attributes`);
    }
  }

  wrote(bytes: number): void {
    this.totals.writtenBytes += bytes;
  }

  #sum(content: FileContent, sign: 1 | -1): void {
    const { totals } = this, { extents, size } = content;
    totals.totalBytes += sign * size;
    totals.coveredBytes += sign * extents.coveredBytes;
    totals.extents += sign * extents.count;
  }

  /**
   * Runs a change of a file's content: the limits on sizes before, the others after.
   *
   * @param size that the file will have at least
   */
  change(content: FileContent, run: (content: FileContent) => void, size = 0): void {
    const limits = this.#limits, { totals } = this;
    if (size > limits.fileBytes) this.#limit(`a file of ${size} bytes`);
    const total = totals.totalBytes - content.size + Math.max(size, content.size);
    if (total > limits.totalBytes) {
      this.#limit(`more than ${limits.totalBytes} bytes of files`);
    }
    this.#sum(content, -1);
    run(content);
    this.#sum(content, 1);
    if (totals.extents > limits.extents) {
      this.#limit(`files in more than ${limits.extents} pieces`);
    }
    if (totals.totalBytes - totals.coveredBytes > limits.sparseBytes) {
      this.#limit(`more than ${limits.sparseBytes} bytes of holes`);
    }
  }
}
