/** Everything about a package, also about one that would be refused. */
import type { Layout } from "../base/layout.ts";
import { asOpError, OpError } from "../base/errors.ts";
import { BaseTree } from "../stream/base_tree.ts";
import { auditStream, listTree } from "../stream/inspect.ts";
import { displayPath } from "../stream/paths.ts";
import { fileSource } from "../stream/source.ts";
import { verifiedParents } from "./acquire.ts";
import { type Manifest, MANIFEST_FILE, parseManifest } from "./manifest.ts";
import { checkMapping, type Mapping } from "./mapping.ts";
import { digestFile } from "./minisign/sign.ts";
import { parsePackageFileName } from "./names.ts";
import { powersOf } from "./package.ts";
import { requireClaim } from "./package_signature.ts";
import { asPlainLine } from "./plain_text.ts";
import { formatProblem, type Problem } from "./problems.ts";
import { type Repositories, validKeys } from "./repositories.ts";
import { verifyFile } from "./sign_file.ts";
import type { TrustStore } from "./trust_store.ts";
import { MAPPING_FILE } from "./validate.ts";

/** Whose keys are known. */
export interface InspectContext {
  readonly layout: Layout;
  readonly trust: TrustStore;
  readonly repositories: Repositories;
}

/**
 * Inspects a package; the names are those of `--json`.
 *
 * @throws {StreamError} only when it is no stream, or a damaged one
 */
export async function inspectPackage(
  path: string,
  context: InspectContext,
  signal?: AbortSignal,
) {
  const digests = digestFile(path);
  let base: BaseTree | undefined;
  try {
    const audit = await auditStream(fileSource(path), {
      collect: true,
      keep: [MANIFEST_FILE, MAPPING_FILE],
      keepBytes: 2 * 1024 * 1024,
      base: ({ parent }) => {
        const found = parent && verifiedParents(context.layout)(parent);
        return found ? base = BaseTree.read(found.path) : null;
      },
      ...(signal && { signal }),
    });
    const { manifest, mapping, problems } = readFiles(audit.kept);
    const signature = inspectSignature(path, context, manifest, digests);
    const powers = powersOf(mapping);
    const findings = audit.findings.map(({ message, offset }) =>
      `${asPlainLine(message)} (at byte ${offset})`
    );
    return {
      path,
      sha256: digests.sha256,
      size_bytes: digests.sizeBytes,
      stream_bytes: audit.streamBytes,
      tree: audit.digest,
      builds_on: audit.identity.parent?.uuid ?? null,
      manifest,
      signature,
      powers: {
        bus_names: powers.busNames,
        unsafe_methods: powers.unsafeMethods,
        safe_methods: powers.safeMethods,
      },
      problems: problems.map((problem) => asPlainLine(formatProblem(problem))),
      findings,
      ok: manifest !== null && findings.length === 0 &&
        !problems.some((problem) => problem.severity === "error"),
      entries: listTree(audit.tree).map((entry) => ({
        path: displayPath(entry.path),
        kind: entry.kind,
        mode: entry.mode.toString(8).padStart(4, "0"),
        size_bytes: entry.sizeBytes,
        target: entry.kind === "symlink" ? displayPath(entry.target) : null,
      })),
    };
  } finally {
    base?.[Symbol.dispose]();
  }
}

function readFiles(kept: ReadonlyMap<string, Uint8Array>): {
  manifest: Manifest | null;
  mapping: Mapping | null;
  problems: readonly Problem[];
} {
  const text = (file: string) => {
    const bytes = kept.get(file);
    return bytes === undefined ? null : new TextDecoder().decode(bytes);
  };
  const manifestText = text(MANIFEST_FILE), mappingText = text(MAPPING_FILE);
  const missing: Problem = {
    file: MANIFEST_FILE,
    line: 0,
    column: 0,
    key: "",
    severity: "error",
    message: "is missing",
  };
  const manifest = manifestText === null
    ? { value: null, problems: [missing] }
    : parseManifest(manifestText);
  const mapping = mappingText === null ? null : checkMapping(mappingText, MAPPING_FILE);
  return {
    manifest: manifest.value,
    mapping: mapping?.mapping ?? null,
    problems: [...manifest.problems, ...(mapping?.problems ?? [])],
  };
}

function inspectSignature(
  path: string,
  { trust, repositories }: InspectContext,
  manifest: Manifest | null,
  digests: ReturnType<typeof digestFile>,
) {
  try {
    const checked = verifyFile(path, (id) => {
      trust.requireNotRevoked(id);
      return trust.find(id) ??
        repositories.all.flatMap((one) => validKeys(one, trust)).find((k) => k.id === id);
    });
    const from = parsePackageFileName(path.slice(path.lastIndexOf("/") + 1))?.from ??
      null;
    if (manifest) requireClaim(checked.signature, digests, { ...manifest, from }, path);
    const { id } = checked.key;
    return { valid: true, key: id, code: null, summary: `right, by trusted key ${id}` };
  } catch (error) {
    if (!(error instanceof OpError)) throw error;
    const { code, message } = asOpError(error);
    return { valid: false, key: null, code, summary: message };
  }
}
