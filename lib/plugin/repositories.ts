/** The repositories that this host uses, and the last index accepted from each. */
import * as v from "valibot";
import { InputError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, unlinkAt } from "../../ffi/files.ts";
import { requireUrl } from "./fetch_source.ts";
import { IndexSchema, MAX_INDEX_BYTES, type RepositoryIndex } from "./index_schema.ts";
import { readJsonFile, writeJsonFile } from "./json_file.ts";
import { NameSchema } from "./manifest_schema.ts";
import { requirePluginName } from "./names.ts";
import { parsePublicKey, type PublicKey, publicKeyLine } from "./minisign/format.ts";
import { KeyIdSchema, KeyLineSchema, type TrustStore } from "./trust_store.ts";

const RepositorySchema = v.object({
  name: NameSchema,
  url: v.pipe(v.string(), v.maxLength(2048)),
  allow_http: v.boolean(),
  keys: v.pipe(
    v.array(v.object({ id: KeyIdSchema, key: KeyLineSchema })),
    v.minLength(1),
    v.maxLength(32),
  ),
  /** How many of the keys must have signed an index. */
  threshold: v.pipe(v.number(), v.integer(), v.minValue(1)),
});
const RepositoriesSchema = v.object({
  format: v.literal(1),
  repositories: v.array(RepositorySchema),
});

/** A repository as `repo add` took it. */
export type Repository = v.InferOutput<typeof RepositorySchema>;

/** What is remembered of the last index, so that no older one is taken again. */
const AcceptedSchema = v.object({
  format: v.literal(1),
  /** What the repository called itself the first time. */
  repository: NameSchema,
  counter: v.number(),
  sha256: v.string(),
  updated: v.string(),
  signed_by: v.array(KeyIdSchema),
  index: IndexSchema,
});

/** The last accepted index. */
export type AcceptedIndex = v.InferOutput<typeof AcceptedSchema>;

/** The list of repositories; changes are durable when a method returns. */
export class Repositories {
  readonly #file: string;
  readonly #folder: string;
  #list: readonly Repository[];

  /** @throws {InputError} when the file is damaged */
  constructor(layout: Layout) {
    this.#file = `${layout.meta}/repositories.json`;
    this.#folder = `${layout.meta}/repositories`;
    this.#list = readJsonFile(RepositoriesSchema, this.#file)?.repositories ?? [];
  }

  /** In the order they were added, which is the order of preference. */
  get all(): readonly Repository[] {
    return this.#list;
  }

  /** @throws {InputError} `unknown_repository` */
  get(name: string): Repository {
    const found = this.#list.find((repository) => repository.name === name);
    if (found) return found;
    throw new InputError("unknown_repository", `No repository ${JSON.stringify(name)}`, {
      hint: "see them with: op-dbus repo list",
    });
  }

  /**
   * Adds a repository, or changes the keys of one that is there with the same URL.
   *
   * @param keys those that may sign its index
   * @param threshold how many of them must
   * @throws {InputError} for a bad name, URL, key or threshold, or another URL
   */
  add(
    name: string,
    url: string,
    keys: readonly PublicKey[],
    options: { threshold?: number; allowHttp?: boolean; trust: TrustStore },
  ): Repository {
    requirePluginName(name);
    const { threshold = 1, allowHttp = false, trust } = options;
    const { href } = requireUrl(/^$|\/$/.test(url) ? url : `${url}/`, allowHttp);
    const byId = new Map(keys.map((key) => [key.id, key]));
    for (const id of byId.keys()) trust.requireNotRevoked(id);
    if (byId.size === 0 || threshold < 1 || threshold > byId.size) {
      throw new InputError(
        "bad_threshold",
        `Cannot require ${threshold} of ${byId.size} keys`,
        { hint: "give each key with --key, and a --threshold of at most their number" },
      );
    }
    const secrets = new Set([...byId.values()].map(({ key }) => key.toHex()));
    if (secrets.size < byId.size) {
      throw new InputError("bad_key", "Two of the keys are the same key", {
        hint: "a threshold counts people: give each one's own key",
      });
    }
    const before = this.#list.find((repository) => repository.name === name);
    if (before && before.url !== href) {
      throw new InputError("repository_exists", `${name} is already at ${before.url}`, {
        hint: `remove it first: op-dbus repo remove ${name}`,
      });
    }
    const repository: Repository = {
      name,
      url: href,
      allow_http: allowHttp,
      keys: [...byId.values()].map((key) => ({ id: key.id, key: publicKeyLine(key) })),
      threshold,
    };
    this.#write(
      before
        ? this.#list.map((other) => other === before ? repository : other)
        : [...this.#list, repository],
    );
    return repository;
  }

  /** Forgets a repository and its index; what was installed from it stays. */
  remove(name: string): void {
    const found = this.get(name);
    this.#write(this.#list.filter((other) => other !== found));
    try {
      unlinkAt(AT_FDCWD, this.#indexFile(name));
    } catch (error) {
      if (!isSysError(error, "ENOENT")) throw error;
    }
  }

  /** The last accepted index; null before the first update. */
  accepted(name: string): AcceptedIndex | null {
    // Our own wrapping adds little to the index itself.
    return readJsonFile(AcceptedSchema, this.#indexFile(name), 2 * MAX_INDEX_BYTES);
  }

  /** Remembers an index that passed every check. */
  accept(
    name: string,
    index: RepositoryIndex,
    facts: { sha256: string; signedBy: string[] },
  ): AcceptedIndex {
    const accepted: AcceptedIndex = {
      format: 1,
      repository: index.repository,
      counter: index.counter,
      sha256: facts.sha256,
      updated: new Date().toISOString(),
      signed_by: facts.signedBy,
      index,
    };
    writeJsonFile(this.#indexFile(name), accepted);
    return accepted;
  }

  #indexFile(name: string): string {
    return `${this.#folder}/${name}.json`;
  }

  #write(list: readonly Repository[]): void {
    writeJsonFile(this.#file, { format: 1, repositories: list });
    this.#list = list;
  }
}

/** A repository's keys that are not revoked. */
export function validKeys(repository: Repository, trust: TrustStore): PublicKey[] {
  return repository.keys.filter(({ id }) => !trust.isRevoked(id))
    .map(({ key }) => parsePublicKey(key));
}
