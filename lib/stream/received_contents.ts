/** Hashes that a stream read once could not give, taken from what it made on disk. */
import { close, O_NONBLOCK, O_RDONLY, openBeneath } from "../../ffi/files.ts";
import { hashFile } from "./disk_tree.ts";
import { binaryBytes } from "./paths.ts";
import type { VirtualTree } from "./tree.ts";

/**
 * Fills in the hashes of contents that came out of order (clones, overwriting).
 *
 * @param tree as audited
 * @param rootFd the same tree on disk
 */
export function hashUnresolved(tree: VirtualTree, rootFd: number): void {
  for (const { path, node } of tree.walk()) {
    if (!node.content || node.content.sha256() !== null) continue;
    const fd = openBeneath(rootFd, binaryBytes(path), O_RDONLY | O_NONBLOCK);
    try {
      const { sha256, sizeBytes } = hashFile(fd, node.content.size);
      if (sizeBytes === node.content.size) node.content.resolve(sha256);
    } finally {
      close(fd);
    }
  }
}
