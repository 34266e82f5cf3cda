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

/** Opened models; each is opened once. */
export class Models implements Disposable {
  readonly #opened = new Map<string, Promise<Embedder>>();

  constructor(readonly source: ModelSource) {}

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
    if (!this.names().includes(name)) {
      throw new InputError("model_not_found", `The model ${name} does not exist`, {
        hint: `there are: ${this.names().join(", ")}`,
      });
    }
    const opening = this.source.open(name);
    this.#opened.set(name, opening);
    try {
      return await opening;
    } catch (error) {
      this.#opened.delete(name);
      throw error;
    }
  }

  /** Closes every model; requests that still use one fail. */
  [Symbol.dispose](): void {
    for (const opening of this.#opened.values()) {
      opening.then((embedder) => embedder[Symbol.dispose](), () => {});
    }
    this.#opened.clear();
  }
}
