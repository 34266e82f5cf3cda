/**
 * How a room tells the audit chain what it did without knowing the chain. The command
 * line and the daemon hand in a recorder that appends a block; tests hand in a list.
 */

/** One change that op-dbus made. */
export interface RecordedAction {
  /** Where it belongs: `plugin`, `state`, `snapshot`, `trust`, `cache`. */
  readonly category: string;
  /** The verb: `install`, `apply`, `prune`. */
  readonly action: string;
  /** On what: `lxc@1.2.0`, `cache@2025-01-15-10:00`. */
  readonly subject: string;
  /** Details, JSON values only; hashed into the block. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** Takes note of changes, after they happened. */
export interface Recorder {
  /** @throws {OpError} when the note cannot be made durable */
  record(action: RecordedAction): Promise<void>;
}
