/** Notes for the audit chain that wait until there is room for them. */
import { OpError } from "../base/errors.ts";
import type { RecordedAction, Recorder } from "../base/recorder.ts";

/**
 * Hands notes on, in order. On a full disk they are kept: deleting is what makes room, and
 * must not end because its first note finds none.
 */
export class LateRecorder implements Recorder {
  readonly #due: RecordedAction[] = [];

  constructor(private readonly inner: Recorder | undefined) {}

  /** Notes that are still to be made. */
  get due(): number {
    return this.#due.length;
  }

  /** @throws {OpError} what the recorder gave, but not for want of space */
  async record(action: RecordedAction): Promise<void> {
    this.#due.push(action);
    try {
      await this.flush();
    } catch (error) {
      if (!(error instanceof OpError && error.code === "no_space")) throw error;
    }
  }

  /** Makes the notes that are due. @throws {OpError} `no_space` too */
  async flush(): Promise<void> {
    while (this.#due.length > 0) {
      await this.inner?.record(this.#due[0]!);
      this.#due.shift();
    }
  }
}
