/** Hashes that a stream read once could not give, taken from what it made on disk. */
import { close, O_RDONLY } from "../../ffi/files.ts";
import { hashFile } from "./disk_tree.ts";
import { openRegular } from "./open_files.ts";
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
    const fd = openRegular(rootFd, binaryBytes(path), O_RDONLY);
    try {
      const { sha256, sizeBytes } = hashFile(fd, node.content.size);
      if (sizeBytes === node.content.size) node.content.resolve(sha256);
    } finally {
      close(fd);
    }
  }
}
