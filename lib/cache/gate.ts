/**
 * The gate between processes that store and processes that remove: storing (bytes, then
 * row) is shared, removing (row, then bytes) is exclusive. Without it a remover could take
 * the bytes of a row that a writer is about to commit. The kernel drops the lock of a
 * process that dies.
 */
import { close, O_CREAT, O_NOFOLLOW, O_RDWR, open } from "../../ffi/files.ts";
import { flock, LOCK_EX, LOCK_SH, LOCK_UN } from "../../ffi/flock.ts";

/** One cache's gate, its lock file held open. */
export class Gate implements Disposable {
  readonly #fd: number;
  #held = 0;

  /** @param path the lock file, made where it is missing */
  constructor(path: string) {
    this.#fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644);
  }

  /** Runs `body` while nobody removes. */
  storing<T>(body: () => T): T {
    return this.#through(LOCK_SH, body);
  }

  /** Runs `body` while nobody stores; keep it short. */
  removing<T>(body: () => T): T {
    return this.#through(LOCK_EX, body);
  }

  #through<T>(operation: number, body: () => T): T {
    if (this.#held > 0) return body();
    flock(this.#fd, operation);
    this.#held++;
    try {
      return body();
    } finally {
      this.#held--;
      flock(this.#fd, LOCK_UN);
    }
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}
