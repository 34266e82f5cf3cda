/**
 * The recorder that command line and daemon hand to the other rooms: every change becomes
 * a block, a link in the block cache and, with an embedder at hand, a footprint.
 */
import type { RecordedAction, Recorder } from "../base/recorder.ts";
import { asOpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { BlockCache } from "./block_cache.ts";
import type { Footprinter } from "./footprints.ts";
import { type Appended, Ledger, type LedgerOptions } from "./ledger.ts";
import { type DesiredState, keepState, publishState } from "./states.ts";
import { actingUser } from "./who.ts";

/** How to open a recorder. */
export interface ChainRecorderOptions extends Pick<LedgerOptions, "onNotice" | "now"> {
  /** Embeds each block as it is written; without it the next semantic search does. */
  readonly footprinter?: Footprinter;
  /** Called after each block, e.g. to snapshot the chain; its failure is only told. */
  readonly afterRecord?: () => Promise<void>;
  /** Default: the user that the process acts for. */
  readonly who?: string;
}

/** Writes what op-dbus does into the chain. */
export class ChainRecorder implements Recorder, Disposable {
  readonly ledger: Ledger;
  readonly #cache: BlockCache;
  readonly #who: string;
  readonly #options: ChainRecorderOptions;

  constructor(readonly layout: Layout, options: ChainRecorderOptions = {}) {
    this.#options = options;
    this.#who = options.who ?? actingUser();
    this.#cache = new BlockCache(layout);
    this.ledger = new Ledger(layout, {
      ...options,
      onAppended: (blocks) => this.#cache.add(blocks),
    });
  }

  /** @inheritdoc */
  async record(action: RecordedAction): Promise<void> {
    await this.append(action);
  }

  /**
   * {@link record} that tells which block it became.
   * @param state the desired state after the change, where it set one: kept, and current
   *   once the block is safe
   */
  async append(action: RecordedAction, state?: DesiredState): Promise<Appended> {
    const hash = state && keepState(this.layout, state);
    const appended = await this.ledger.append({
      category: action.category,
      action: action.action,
      who: this.#who,
      what: action.subject,
      data: action.data,
      ...(hash !== undefined && { state: hash }),
    });
    if (state) publishState(this.layout, state);
    await this.#footprint();
    await this.#tryAfter("Cannot snapshot the chain", this.#options.afterRecord);
    return appended;
  }

  /** What follows a block that is safe cannot undo it. */
  async #tryAfter(what: string, step?: () => Promise<void>): Promise<void> {
    try {
      await step?.();
    } catch (error) {
      this.#options.onNotice?.(asOpError(error, what).message);
    }
  }

  /** The change is made and on record: a footprint that fails is caught up later. */
  async #footprint(): Promise<void> {
    const { footprinter } = this.#options;
    if (!footprinter) return;
    await this.#tryAfter("Cannot store the block's vector", async () => {
      const [{ Footprints }, { ChainReader }] = await Promise.all([
        import("./footprints.ts"),
        import("./reader.ts"),
      ]);
      using reader = new ChainReader(this.layout.timing);
      using footprints = new Footprints(this.layout.chainVectors, footprinter);
      await footprints.catchUp(reader);
    });
  }

  [Symbol.dispose](): void {
    this.ledger[Symbol.dispose]();
  }
}
