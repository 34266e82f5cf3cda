/**
 * Taking a new index from a repository: signed by enough keys, not expired, not older than
 * the one before, not another repository's.
 * Source: The Update Framework, https://theupdateframework.io/specification/latest/
 */
import { DifferenceError, OpError } from "../base/errors.ts";
import { fetchBytes, type FetchOptions } from "./download.ts";
import { IndexSchema, MAX_INDEX_BYTES, type RepositoryIndex } from "./index_schema.ts";
import { parseJson } from "./json_file.ts";
import { MAX_MINISIGN_BYTES, parseSignature, type PublicKey } from "./minisign/format.ts";
import { checkSignature, digestBytes, type FileDigests } from "./minisign/sign.ts";
import {
  type AcceptedIndex,
  type Repositories,
  type Repository,
  validKeys,
} from "./repositories.ts";
import type { TrustStore } from "./trust_store.ts";

/** The index's file name in a repository. */
export const INDEX_FILE = "index.json";

/** What an update did. */
export interface UpdateResult {
  readonly repository: string;
  readonly counter: number;
  /** False where the index is the one that was there. */
  readonly changed: boolean;
  readonly expires: string;
  readonly signedBy: readonly string[];
  /** Keys of the repository that the index revoked. */
  readonly revoked: readonly string[];
}

/** Of what the update depends besides the network. */
export interface UpdateOptions extends FetchOptions {
  readonly now?: Date;
}

/** The name of one key's signature where several sign: `index.json.0123456789ABCDEF.minisig`. */
export function indexSignatureName(keyId: string | null): string {
  return keyId === null ? `${INDEX_FILE}.minisig` : `${INDEX_FILE}.${keyId}.minisig`;
}

/**
 * Fetches, checks and remembers a repository's index.
 *
 * @throws {DifferenceError} `bad_signature`, `below_threshold`, `expired_index`,
 *   `older_index`, `other_repository`
 * @throws {OpError} what fetching gave
 */
export async function updateRepository(
  repositories: Repositories,
  trust: TrustStore,
  name: string,
  options: UpdateOptions = {},
): Promise<UpdateResult> {
  const repository = repositories.get(name);
  const fetching = { ...options, allowHttp: repository.allow_http };
  const bytes = await fetchIndexFile(repository, INDEX_FILE, MAX_INDEX_BYTES, fetching);
  if (bytes === null) {
    throw new OpError("no_index", `No ${INDEX_FILE} at ${repository.url}`, {
      hint: "check the URL; a repository is made with: op-dbus repo index DIR",
    });
  }
  const digests = digestBytes(bytes);
  const signedBy = await signers(repository, trust, digests, fetching);
  // Only now is the content looked at: an unsigned byte is never parsed as JSON.
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  const index = parseJson(IndexSchema, text, `${INDEX_FILE} of ${name}`, "bad_index");
  const before = repositories.accepted(name);
  requireFresh(repository, index, digests, before, options.now ?? new Date());
  // Its own keys everywhere; of others' it only says what it takes itself (acquire.ts):
  // else one repository could shut out all the others.
  const own = new Set(repository.keys.map(({ id }) => id));
  const revoked = index.revoked_keys.filter((id) => own.has(id));
  for (const id of revoked) trust.revoke(id, `revoked by the repository ${name}`, name);
  const changed = before?.sha256 !== digests.sha256;
  if (changed) repositories.accept(name, index, { sha256: digests.sha256, signedBy });
  return {
    repository: name,
    counter: index.counter,
    changed,
    expires: index.expires,
    signedBy,
    revoked,
  };
}

function fetchIndexFile(
  repository: Repository,
  file: string,
  limitBytes: number,
  options: FetchOptions,
): Promise<Uint8Array<ArrayBuffer> | null> {
  return fetchBytes(new URL(file, repository.url), limitBytes, options);
}

/** The ids of the keys that signed; at least the threshold. */
async function signers(
  repository: Repository,
  trust: TrustStore,
  digests: FileDigests,
  options: FetchOptions,
): Promise<string[]> {
  const keys = new Map(validKeys(repository, trust).map((key) => [key.id, key]));
  const { threshold, name } = repository;
  if (keys.size < threshold) {
    throw new DifferenceError(
      "below_threshold",
      `Cannot check the index of ${name}: ${keys.size} of its keys are not revoked, ` +
        `${threshold} must sign`,
      { hint: `get its new keys, then: op-dbus repo add ${name} URL --key KEY` },
    );
  }
  const signed = new Set<string>();
  let problem: unknown;
  const files = [null, ...(threshold > 1 ? keys.keys() : [])];
  for (const file of files) {
    if (signed.size >= threshold) break;
    try {
      const id = await signerOf(
        repository,
        indexSignatureName(file),
        keys,
        digests,
        options,
      );
      if (id !== null) signed.add(id);
    } catch (error) {
      // One wrong signature does not undo the others; it is told where too few are right.
      if (!(error instanceof OpError)) throw error;
      problem ??= error;
    }
  }
  if (signed.size >= threshold) return [...signed];
  if (threshold === 1 && problem) throw problem;
  throw new DifferenceError(
    "below_threshold",
    `Cannot trust the index of ${name}: ${signed.size} of ${threshold} signatures`,
    {
      hint: "do not use it; ask whoever runs the repository",
      ...(problem !== undefined && { cause: problem }),
    },
  );
}

async function signerOf(
  repository: Repository,
  file: string,
  keys: ReadonlyMap<string, PublicKey>,
  digests: FileDigests,
  options: FetchOptions,
): Promise<string | null> {
  const bytes = await fetchIndexFile(repository, file, MAX_MINISIGN_BYTES, options);
  if (bytes === null) return null;
  const signature = parseSignature(new TextDecoder().decode(bytes), file);
  const key = keys.get(signature.keyId);
  if (!key) {
    throw new DifferenceError(
      "unknown_key",
      `The index of ${repository.name} is signed by ${signature.keyId}, a key that is ` +
        "revoked or not the repository's",
      { hint: "do not use it; ask whoever runs the repository" },
    );
  }
  checkSignature(digests, signature, key, `the index of ${repository.name}`);
  return key.id;
}

function requireFresh(
  repository: Repository,
  index: RepositoryIndex,
  digests: FileDigests,
  before: AcceptedIndex | null,
  now: Date,
): void {
  const refuse = (code: string, why: string, hint: string) =>
    new DifferenceError(code, `Refused the index of ${repository.name}: ${why}`, {
      hint,
    });
  if (before && before.repository !== index.repository) {
    const why = `it is of ${index.repository}, not of ${before.repository}`;
    throw refuse("other_repository", why, "check the URL");
  }
  if (before && index.counter < before.counter) {
    const why =
      `it is older (${index.counter}) than the one seen before (${before.counter})`;
    throw refuse("older_index", why, "the mirror is stale or lies: use another one");
  }
  if (before && index.counter === before.counter && digests.sha256 !== before.sha256) {
    const why = `another index with the same counter (${index.counter}) was seen before`;
    throw refuse("older_index", why, "the mirror lies, or the repository made a mistake");
  }
  requireUnexpired(repository.name, index, now);
}

/** @throws {DifferenceError} `expired_index`: a mirror may be holding back newer ones */
export function requireUnexpired(name: string, index: RepositoryIndex, now: Date): void {
  if (now.getTime() < Date.parse(index.expires)) return;
  throw new DifferenceError(
    "expired_index",
    `Refused the index of ${name}: it expired at ${index.expires}`,
    { hint: "run op-dbus repo update; if it stays so, the mirror holds back newer ones" },
  );
}
