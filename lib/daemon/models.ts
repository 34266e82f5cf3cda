/** The models that the service answers for, opened when first asked for. */
import { InputError } from "../base/errors.ts";
import type { Embedder } from "../embed/embedder.ts";

/** Where models come from: the command line hands in the store, tests hand in a map. */
export interface ModelSource {
  /** The model of a request that names none. */
  readonly defaultName: string;
  names(): string[];
  /** @throws {OpError} when there is no such model, or it cannot run */
  open(name: string): Promise<Embedder>;
}

/** How often closing looks whether a model is still in use. */
const CLOSE_POLL_MS = 50;

/** Opened models; each is opened once. */
export class Models {
  readonly #opened = new Map<string, Promise<Embedder>>();
  readonly #uses = new Map<Embedder, number>();

  /** @param source may be replaced: opened models stay */
  constructor(public source: ModelSource) {}

  get defaultName(): string {
    return this.source.defaultName;
  }

  names(): string[] {
    return this.source.names();
  }

  /**
   * @throws {InputError} `model_not_found`
   * @throws {OpError} when it cannot run; the next call tries again
   */
  async get(name: string): Promise<Embedder> {
    const opened = this.#opened.get(name);
    if (opened) return opened;
    this.check(name);
    const opening = this.source.open(name);
    this.#opened.set(name, opening);
    try {
      return await opening;
    } catch (error) {
      this.#opened.delete(name);
      throw error;
    }
  }

  /** @throws {InputError} `model_not_found` */
  check(name: string): void {
    const names = this.names();
    if (names.includes(name)) return;
    throw new InputError("model_not_found", `The model ${name} does not exist`, {
      hint: `there are: ${names.join(", ")}`,
    });
  }

  /** Keeps an opened model from being closed until the result is disposed. */
  use(embedder: Embedder): Disposable {
    this.#uses.set(embedder, (this.#uses.get(embedder) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const left = this.#uses.get(embedder)! - 1;
        if (left > 0) this.#uses.set(embedder, left);
        else this.#uses.delete(embedder);
      },
    };
  }

  /** Closes every model as soon as nobody uses it. */
  async close(): Promise<void> {
    const openings = [...this.#opened.values()];
    this.#opened.clear();
    for (const opening of openings) {
      const embedder = await opening.catch(() => null); // told to who asked for it
      if (!embedder) continue;
      // First a turn of the loop: who was handed the model just now has yet to use it.
      do await new Promise((resolve) => setTimeout(resolve, CLOSE_POLL_MS)); while (
        this.#uses.has(embedder)
      );
      embedder[Symbol.dispose]();
    }
  }
}
