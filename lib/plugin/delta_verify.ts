/** Checking that a difference leads from one package to another, with no btrfs at hand. */
import { DifferenceError } from "../base/errors.ts";
import { BaseTree } from "../stream/base_tree.ts";
import { auditStream } from "../stream/inspect.ts";
import { receiveStream } from "../stream/receive.ts";
import { fileSource } from "../stream/source.ts";
import { removeTree } from "./copy_tree.ts";

/** Unpacks each base once into a temporary folder, which is gone when disposed. */
export class DeltaVerifier implements Disposable {
  #folder: string | undefined;
  readonly #bases = new Map<string, { path: string; uuid: string; ctransid: bigint }>();

  /**
   * @param delta the difference's file
   * @param base the full package that it starts from
   * @param tree the digest that it must lead to
   * @throws {DifferenceError} `wrong_delta` when it leads elsewhere
   * @throws {StreamError} when it builds on another base, or is refused
   */
  async verify(delta: string, base: string, tree: string): Promise<void> {
    const from = await this.#unpack(base);
    let opened: BaseTree | undefined;
    try {
      const { digest } = await auditStream(fileSource(delta), {
        base: ({ parent }) =>
          parent?.uuid === from.uuid && parent.ctransid === from.ctransid
            ? opened ??= BaseTree.read(from.path)
            : null,
      });
      if (digest === tree) return;
    } finally {
      opened?.[Symbol.dispose]();
    }
    throw new DifferenceError("wrong_delta", `${delta} does not lead to its version`, {
      hint: "make it again from the two versions that are published",
    });
  }

  async #unpack(base: string) {
    const known = this.#bases.get(base);
    if (known) return known;
    this.#folder ??= Deno.makeTempDirSync({ prefix: "op-dbus-index-" });
    const name = `base-${this.#bases.size}`;
    const { path, identity } = await receiveStream(fileSource(base), {
      folder: this.#folder,
      name,
      plain: true,
    });
    const unpacked = { path, uuid: identity.uuid, ctransid: identity.ctransid };
    this.#bases.set(base, unpacked);
    return unpacked;
  }

  [Symbol.dispose](): void {
    if (this.#folder) removeTree(this.#folder);
  }
}
