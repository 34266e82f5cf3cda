/** The hit path by layer, and the disk under the cache, measured here and now. */
import {
  fadvise,
  fdatasync,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDWR,
  open,
  POSIX_FADV_DONTNEED,
  POSIX_FADV_RANDOM,
  pread,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import type { Embedder } from "../embed/embedder.ts";
import { EmbeddingCache } from "./embedding_cache.ts";

/** Microseconds per hit. */
export interface HitPath {
  readonly arenaUs: number;
  readonly packUs: number;
  readonly looseUs: number;
  readonly vectors: number;
}

/** Microseconds per 4 KiB read at a random place. */
export interface DiskReads {
  readonly cachedUs: number;
  readonly coldUs: number;
}

const TEXTS = 2000;
const ROUNDS = 5;
const FILE_BYTES = 32 * 1024 * 1024, READ_BYTES = 4096, READS = 500;

/**
 * Fills a cache of its own and times hits from each layer.
 *
 * @param folder an empty folder on the disk in question; what is made there stays
 */
export async function measureHitPath(
  folder: string,
  embedder: Embedder,
  signal?: AbortSignal,
): Promise<HitPath> {
  const texts = Array.from({ length: TEXTS }, (_, i) => `a text to measure by, ${i}`);
  const options = signal ? { signal } : {};
  const open = (arenaBytes?: number) =>
    EmbeddingCache.open(folder, {
      durability: "relaxed",
      ...(arenaBytes !== undefined && { arenaBytes }),
    });
  using cold = open(0);
  await cold.getOrEmbed(texts, embedder, options);
  const { identity } = embedder;
  const byGet = () => texts.forEach((text) => cold.get(text, identity));
  const looseUs = perText(byGet);
  cold.compact(options);
  const packUs = perText(byGet);
  using hot = open();
  await hot.getOrEmbed(texts, embedder, options);
  const arenaUs = perText(() => texts.forEach((text) => hot.peek(text, identity)));
  return { arenaUs, packUs, looseUs, vectors: TEXTS };
}

/** The fastest of a few rounds over all texts, in microseconds per text. */
function perText(round: () => void): number {
  let best = Infinity;
  for (let i = 0; i < ROUNDS; i++) {
    const begun = performance.now();
    round();
    best = Math.min(best, performance.now() - begun);
  }
  return best * 1000 / TEXTS;
}

/**
 * Times reads of a file that is in the page cache, and of one that was put out of it.
 *
 * @param path a file to make; the caller removes it
 */
export function measureDisk(path: string): DiskReads {
  const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
  return withFd(open(path, flags, 0o600), (fd) => {
    const noise = new Uint8Array(FILE_BYTES);
    // Random content: zeros would be compressed away.
    for (let at = 0; at < noise.length; at += 65_536) {
      crypto.getRandomValues(noise.subarray(at, at + 65_536));
    }
    writeAll(fd, noise);
    fdatasync(fd, path);
    const buffer = new Uint8Array(READ_BYTES);
    const pages = FILE_BYTES / READ_BYTES;
    const reads = () => {
      const begun = performance.now();
      for (let i = 0; i < READS; i++) {
        const page = Math.imul(i + 1, 0x9e3779b1) >>> 0;
        pread(fd, buffer, (page % pages) * READ_BYTES);
      }
      return (performance.now() - begun) * 1000 / READS;
    };
    reads();
    const cachedUs = reads();
    fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return { cachedUs, coldUs: reads() };
  });
}
