/**
 * Getting packages and checking them: signature, claim, digest, audit. What comes out of
 * here is exactly what its author signed, and does nothing that a plugin may not.
 */
import { AT_FDCWD, unlinkAt } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { DifferenceError, InputError, OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { BaseTree } from "../stream/base_tree.ts";
import type { ParentFinder } from "../stream/parents.ts";
import type { RepositoryOrigin } from "./catalog.ts";
import { download, fetchBytes, type FetchOptions } from "./download.ts";
import { requireUrl } from "./fetch_source.ts";
import { type IndexDelta, MAX_PACKAGE_BYTES } from "./index_schema.ts";
import { ensureFolder } from "./json_file.ts";
import { MAX_MINISIGN_BYTES, type PublicKey } from "./minisign/format.ts";
import type { FileDigests } from "./minisign/sign.ts";
import {
  meantBy,
  type NameVersion,
  type PackageName,
  parsePackageFileName,
} from "./names.ts";
import { type PackageContent, readPackage } from "./package.ts";
import { PackageFile } from "./package_file.ts";
import { parseClaim, requireClaim } from "./package_signature.ts";
import { downloadsPath } from "./places.ts";
import { type Repositories, type Repository, validKeys } from "./repositories.ts";
import { signaturePath, verifyFile } from "./sign_file.ts";
import type { TrustStore } from "./trust_store.ts";
import { storedVersions } from "./version_store.ts";
import { writeAtomically } from "../base/durable.ts";

/** A package on disk that passed every check. */
export interface VerifiedPackage {
  readonly path: string;
  readonly file: PackageFile;
  /** The version that it is a difference to; null where it is whole. */
  readonly from: string | null;
  readonly content: PackageContent;
  readonly digests: FileDigests;
  /** Null for one that is not signed, which only a local file may be. */
  readonly signedBy: string | null;
  /** For records: a path, a URL, `repository NAME`. */
  readonly source: string;
}

/** What acquiring needs. */
export interface AcquireContext {
  readonly layout: Layout;
  readonly trust: TrustStore;
  readonly repositories: Repositories;
  readonly fetch: FetchOptions;
  /** Take local files that nobody signed. */
  readonly allowUnsigned: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Told what could not be used, one line each. */
  readonly note: (line: string) => void;
}

/** A local package file. @throws {DifferenceError} {@link InputError} {@link StreamError} */
export async function acquireFile(
  context: AcquireContext,
  path: string,
): Promise<VerifiedPackage> {
  return await opening(context, path, async (file) => {
    file.requireThere();
    const signed = context.allowUnsigned
      ? trySignature(context, file)
      : check(context, file);
    const digests = file.digests();
    const name = parsePackageFileName(path.slice(path.lastIndexOf("/") + 1));
    const content = await read(context, file);
    const from = baseVersion(context, content);
    if (signed) {
      requireClaim(signed.signature, digests, { ...content.manifest, from }, path);
    }
    if (name) requireManifest(path, content, meantBy(name, content.manifest.name));
    const signedBy = signed?.key.id ?? null;
    return { path, file, from, content, digests, signedBy, source: path };
  });
}

/** Opens a package, and closes it again where it is refused. */
async function opening(
  { layout }: AcquireContext,
  path: string,
  verify: (file: PackageFile) => Promise<VerifiedPackage>,
): Promise<VerifiedPackage> {
  ensureFolder(downloadsPath(layout), 0o700);
  const file = new PackageFile(path, downloadsPath(layout));
  try {
    return await verify(file);
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** {@link opening} of what is fetched first; refused, it does not stay here either. */
async function openingFetched(
  context: AcquireContext,
  path: string,
  get: () => Promise<void>,
  verify: (file: PackageFile) => Promise<VerifiedPackage>,
): Promise<VerifiedPackage> {
  try {
    await get();
    return await opening(context, path, verify);
  } catch (error) {
    dropDownload(context, path);
    throw error;
  }
}

/** A package at a URL that is in no index: signed by a trusted key, or refused. */
export async function acquireUrl(
  context: AcquireContext,
  text: string,
): Promise<VerifiedPackage> {
  const url = requireUrl(text, context.fetch.allowHttp);
  const called = decodeURIComponent(url.pathname.split("/").at(-1)!);
  const name = parsePackageFileName(called);
  if (!name) {
    throw new InputError("bad_url", `${url.href} is not called like a package`, {
      hint: "a package is called NAME-vX.Y.Z.btrfs.zst; download it and name the file",
    });
  }
  ensureFolder(downloadsPath(context.layout), 0o700);
  const path = `${downloadsPath(context.layout)}/${called}`;
  const get = async () => {
    await fetchSignature(url, path, context.fetch);
    await download(url, { path, sizeBytes: MAX_PACKAGE_BYTES }, context.fetch);
  };
  return await openingFetched(context, path, get, async (file) => {
    const { signature, key, digests } = check(context, file);
    // What its author signed decides between lxc and lxc-plugin; nothing else is open.
    const signed = parseClaim(signature.trustedComment)?.name ?? name.name;
    const meant = meantBy(name, signed), { from } = name;
    requireClaim(signature, digests, meant, url.href);
    const content = await read(context, file);
    requireManifest(url.href, content, meant);
    return { path, file, from, content, digests, signedBy: key.id, source: url.href };
  });
}

/**
 * A package of a repository: the difference to a version that is here where there is one,
 * else, or when that fails, the whole.
 */
export async function acquireFromRepository(
  context: AcquireContext,
  version: NameVersion,
  origin: RepositoryOrigin,
): Promise<VerifiedPackage> {
  const { entry } = origin;
  const delta = chooseDelta(context, version, origin);
  if (delta) {
    try {
      return await acquireEntry(context, { ...version, from: delta.from }, delta, origin);
    } catch (error) {
      context.signal?.throwIfAborted();
      if (!(error instanceof OpError) || error.code === "no_space") throw error;
      context.note(`The difference from ${delta.from} is of no use: ${error.message}`);
    }
  }
  return await acquireEntry(context, { ...version, from: null }, entry, origin);
}

function chooseDelta(
  { layout }: AcquireContext,
  { name }: NameVersion,
  { entry, repository }: RepositoryOrigin,
): IndexDelta | null {
  const here = new Map(
    storedVersions(layout, name).flatMap(({ version, record }) =>
      record ? [[version, record]] : []
    ),
  );
  const usable = entry.deltas.filter((delta) => {
    const base = here.get(delta.from);
    return base?.stream && base.source === `repository ${repository.name}` &&
      delta.size < entry.size;
  });
  return usable.sort((a, b) => a.size - b.size)[0] ?? null;
}

async function acquireEntry(
  context: AcquireContext,
  name: PackageName,
  file: { file: string; sha256: string; size: number },
  { repository, entry }: RepositoryOrigin,
): Promise<VerifiedPackage> {
  const fetch = { ...context.fetch, allowHttp: repository.allow_http };
  const url = new URL(file.file, repository.url);
  ensureFolder(downloadsPath(context.layout), 0o700);
  const path = `${downloadsPath(context.layout)}/${file.sha256}`;
  const get = async () => {
    await fetchSignature(url, path, fetch);
    await download(url, { path, sizeBytes: file.size, sha256: file.sha256 }, fetch);
  };
  const find = (id: string) => packageKey(context, repository, id);
  return await openingFetched(context, path, get, async (file) => {
    const digest = () => file.digests();
    const { signature, key, digests } = verifyFile(path, find, undefined, digest);
    requireClaim(signature, digests, name, url.href);
    const content = await read(context, file);
    requireManifest(url.href, content, name);
    if (content.tree !== entry.tree) {
      throw new DifferenceError(
        "wrong_package",
        `${url.href} is not what the index says`,
        {
          hint:
            "run op-dbus repo update; if it stays so, tell whoever runs the repository",
        },
      );
    }
    const source = `repository ${repository.name}`, { from } = name;
    return { path, file, from, content, digests, signedBy: key.id, source };
  });
}

async function fetchSignature(url: URL, path: string, fetch: FetchOptions) {
  const from = new URL(url); // not by its path alone: `//x` would be another host
  from.pathname += ".minisig";
  from.search = "";
  const bytes = await fetchBytes(from, MAX_MINISIGN_BYTES, fetch);
  if (bytes === null) {
    throw new DifferenceError("unsigned", `Not signed: there is no ${from.href}`, {
      hint: "ask its author for the .minisig",
    });
  }
  writeAtomically(signaturePath(path), bytes);
}

/** A key for a repository's packages: its own or the user's, unless either revoked it. */
function packageKey(
  { trust, repositories }: AcquireContext,
  repository: Repository,
  id: string,
): PublicKey | undefined {
  trust.requireNotRevoked(id);
  const { name } = repository;
  if (repositories.accepted(name)?.index.revoked_keys.includes(id)) {
    throw new InputError(
      "revoked_key",
      `Key ${id} was revoked by the repository ${name}`,
      {
        hint: "ask the author for a file signed with the new key",
      },
    );
  }
  return validKeys(repository, trust).find((key) => key.id === id) ?? trust.find(id);
}

/** Keys that are trusted for whatever comes as a file: the user's, and repositories'. */
function trustedKey(context: AcquireContext, id: string): PublicKey | undefined {
  context.trust.requireNotRevoked(id);
  const own = context.trust.find(id);
  if (own) return own;
  return context.repositories.all.flatMap((repository) =>
    validKeys(repository, context.trust)
  ).find((key) => key.id === id);
}

function check(context: AcquireContext, file: PackageFile) {
  const find = (id: string) => trustedKey(context, id);
  return verifyFile(file.path, find, undefined, () => file.digests());
}

/** A signature that is there must be right, even where none is asked for. */
function trySignature(context: AcquireContext, file: PackageFile) {
  try {
    return check(context, file);
  } catch (error) {
    const code = error instanceof DifferenceError ? error.code : "";
    if (code !== "unsigned" && code !== "unknown_key") throw error;
    context.note(`${file.path} is NOT signed by a trusted key, and taken all the same`);
    return null;
  }
}

async function read(
  context: AcquireContext,
  file: PackageFile,
): Promise<PackageContent> {
  const find = verifiedParents(context.layout);
  let base: BaseTree | undefined;
  try {
    return await readPackage(await file.source(), {
      base: ({ parent }) => {
        const found = parent && find(parent);
        if (!found) return null;
        base = BaseTree.read(found.path);
        if (base.digest === found.digest) return base;
        throw new DifferenceError("tampered", `${found.path} is not what was installed`, {
          hint: "install it again, or take the full package",
        });
      },
      ...(context.signal && { signal: context.signal }),
    });
  } finally {
    base?.[Symbol.dispose]();
  }
}

/** Finds versions that were verified here, by how a stream names them. */
export function verifiedParents(layout: Layout): ParentFinder {
  return ({ uuid, ctransid }) => {
    const found = storedVersions(layout).find(({ record }) =>
      record?.stream?.uuid === uuid && record.stream.ctransid === String(ctransid)
    );
    return found ? { path: found.path, digest: found.record!.tree } : null;
  };
}

function baseVersion({ layout }: AcquireContext, content: PackageContent): string | null {
  const { parent } = content.audit.identity;
  if (!parent) return null;
  return storedVersions(layout).find(({ record }) =>
    record?.stream?.uuid === parent.uuid &&
    record.stream.ctransid === String(parent.ctransid)
  )?.version ?? null;
}

function requireManifest(
  what: string,
  { manifest }: PackageContent,
  name: NameVersion,
): void {
  if (manifest.name === name.name && manifest.version === name.version) return;
  throw new DifferenceError(
    "wrong_package",
    `Wrong package in ${what}: it holds ${manifest.name}@${manifest.version}`,
    { hint: "the file was renamed or swapped: fetch it again from its author" },
  );
}

/** Deletes a downloaded package that has been installed. */
export function dropDownload({ layout }: AcquireContext, path: string): void {
  if (!path.startsWith(`${downloadsPath(layout)}/`)) return;
  for (const file of [path, signaturePath(path)]) {
    try {
      unlinkAt(AT_FDCWD, file);
    } catch (error) {
      if (!isSysError(error, "ENOENT")) throw error;
    }
  }
}
