/**
 * `@cache/blocks`: blocks by number and by hash, as relative links into `@timing`. Only a
 * cache: nothing trusts it, and whatever is missing there is linked again.
 */
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, readlinkAt, symlinkAt } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { OpError } from "../base/errors.ts";
import { makeFolder } from "../base/folder.ts";
import type { Layout } from "../base/layout.ts";
import type { Appended } from "./ledger.ts";
import { type ChainReader, pause } from "./reader.ts";

const BLOCKS_PER_TURN = 512;

/** The links of one root. */
export class BlockCache {
  constructor(readonly layout: Layout) {}

  #byNumber(number: number): string {
    return `${this.layout.blocksByNumber}/${number}.json`;
  }
  #byHash(hash: string): string {
    return `${this.layout.blocksByHash}/${hash}.json`;
  }

  /** Links blocks that were just appended. */
  add(blocks: readonly Pick<Appended, "hash" | "header">[]): void {
    for (const { hash, header: { number } } of blocks) this.#link(number, hash);
  }

  #link(number: number, hash: string): void {
    this.#symlink(`../../../@timing/blocks/${number}.json`, this.#byNumber(number));
    this.#symlink(`../by-number/${number}.json`, this.#byHash(hash));
  }

  #symlink(target: string, path: string): void {
    try {
      symlinkAt(target, AT_FDCWD, path);
    } catch (error) {
      if (isSysError(error, "EEXIST")) return;
      if (!isSysError(error, "ENOENT")) throw error;
      this.#ensureFolders();
      symlinkAt(target, AT_FDCWD, path);
    }
  }

  #ensureFolders(): void {
    const { cache, blocksByNumber, blocksByHash } = this.layout;
    for (const path of [cache, `${cache}/blocks`, blocksByNumber, blocksByHash]) {
      makeFolder(path);
    }
  }

  /** True when nothing was cleared: the last block is linked. */
  holds(number: number): boolean {
    try {
      statAt(AT_FDCWD, this.#byNumber(number));
      return true;
    } catch (error) {
      if (isSysError(error, "ENOENT")) return false;
      throw error;
    }
  }

  /**
   * The number of the block with this hash: by its link, else by looking at every block,
   * which links them again.
   *
   * @param hash full, lowercase hex
   * @throws {OpError} `no_such_block`
   */
  async find(reader: ChainReader, hash: string, signal?: AbortSignal): Promise<number> {
    const linked = this.#linkedNumber(hash);
    if (linked !== null && linked < reader.size) {
      if (reader.readRaw(linked).leaf.toHex() === hash) return linked;
    }
    const found = await this.rebuild(reader, hash, signal);
    if (found !== null) return found;
    throw new OpError("no_such_block", `No block has the hash ${hash}`, {
      hint: "op-dbus chain list shows what there is",
    });
  }

  #linkedNumber(hash: string): number | null {
    if (!/^[0-9a-f]{64}$/.test(hash)) return null;
    try {
      const target = new TextDecoder().decode(readlinkAt(AT_FDCWD, this.#byHash(hash)));
      const number = /^\.\.\/by-number\/(\d{1,15})\.json$/.exec(target)?.[1];
      return number === undefined ? null : Number(number);
    } catch (error) {
      if (isSysError(error, "ENOENT", "EINVAL", "ENOTDIR")) return null;
      throw error;
    }
  }

  /**
   * Links every block.
   * @returns the number of the block whose hash was asked for, if any has it
   */
  async rebuild(
    reader: ChainReader,
    hash?: string,
    signal?: AbortSignal,
  ): Promise<number | null> {
    let found: number | null = null;
    for (let number = 0; number < reader.size; number++) {
      if (number % BLOCKS_PER_TURN === 0) await pause(signal);
      const own = reader.readRaw(number).leaf.toHex();
      if (own === hash) found = number;
      this.#tryLink(number, own);
    }
    return found;
  }

  /** Whoever may only read still finds the block. */
  #tryLink(number: number, hash: string): void {
    try {
      this.#link(number, hash);
    } catch (error) {
      if (!isSysError(error, "EACCES", "EPERM", "EROFS", "ENOENT")) throw error;
    }
  }
}
