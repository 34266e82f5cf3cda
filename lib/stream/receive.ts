/**
 * Receiving a stream: audit, stage, apply, compare digests, sync, mark, publish. Any
 * failure destroys all that was made.
 */
import {
  isBtrfs,
  openFolder,
  setReadOnly,
  setReceived,
  subvolumeInfo,
  syncFileSystem,
} from "../../ffi/btrfs.ts";
import { syncfsLater } from "../../ffi/later.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  close,
  effectiveUid,
  O_DIRECTORY,
  O_RDONLY,
  open,
  syncfs,
} from "../../ffi/files.ts";
import type { HashWorker } from "../../ffi/hash_worker.ts";
import { type Stat, statAt } from "../../ffi/stat.ts";
import { asOpError, DifferenceError, InputError, OpError } from "../base/errors.ts";
import { Applier } from "./apply.ts";
import { Auditor } from "./audit.ts";
import type { AuditTotals } from "./audit_totals.ts";
import { BaseTree } from "./base_tree.ts";
import type { StreamCommand } from "./command.ts";
import { digestOfTree } from "./digest.ts";
import { digestOfFd } from "./disk_tree.ts";
import { EarlyDigests } from "./early_digests.ts";
import { StreamGuard } from "./guard.ts";
import { type StreamIdentity, uuidText } from "./identity.ts";
import { type AuditResult, auditStream, workerFor } from "./inspect.ts";
import { PLUGIN_LIMITS, type StreamLimits } from "./limits.ts";
import type { ParentFinder, ParentSnapshot } from "./parents.ts";
import { binaryBytes, pathFault } from "./paths.ts";
import { PLUGIN_POLICY, type StreamPolicy } from "./policy.ts";
import { hashUnresolved } from "./received_contents.ts";
import { parseSource } from "./run.ts";
import type { ByteSource } from "./source.ts";
import { cleanReceivesFd, Staging, type StagingKind } from "./staging.ts";

/** How to receive. */
export interface ReceiveOptions {
  /** Absolute path of the folder that the result becomes visible in; it exists. */
  readonly folder: string;
  /** Name to give it; default the stream's own. */
  readonly name?: string;
  /** Default {@link PLUGIN_POLICY}. */
  readonly policy?: StreamPolicy;
  /** Default {@link PLUGIN_LIMITS}. */
  readonly limits?: StreamLimits;
  /** A plain folder even where a subvolume could be made. */
  readonly plain?: boolean;
  /** Leave the subvolume writable, and unmarked as received. */
  readonly writable?: boolean;
  /** The tree digest that it must have (e.g. the signed one), lower-case hexadecimal. */
  readonly expectedDigest?: string;
  /**
   * What {@link auditStream} found, under this policy and these limits, in these very
   * bytes, which cannot have changed since: they are not audited again.
   */
  readonly audited?: AuditResult;
  /** Finds the parent of an incremental stream; none: only full streams. */
  readonly parent?: ParentFinder;
  readonly signal?: AbortSignal;
  /** Bytes of decompressed stream done, and in which of the passes. */
  readonly progress?: (streamBytes: number, pass: "audit" | "receive") => void;
}

/** What was received. */
export interface ReceiveResult {
  /** Where it is now. */
  readonly path: string;
  readonly kind: StagingKind;
  readonly identity: StreamIdentity;
  /** UUID of the new subvolume; null where it is a plain folder. */
  readonly localUuid: string | null;
  /** Tree digest, audited and found on disk; null under a policy without a tree. */
  readonly digest: string | null;
  readonly streamBytes: number;
  readonly commands: number;
  /** What the audit counted; null under a policy without a tree. */
  readonly totals: Readonly<AuditTotals> | null;
}

/**
 * Receives a stream.
 *
 * On btrfs (as root) the result is a read-only subvolume marked as received; elsewhere a
 * folder. A source that can be read again is audited whole before anything touches the
 * disk; a pipe command by command, each before it is applied.
 *
 * @param source a file, pipe, bytes; a zstd frame around it is taken off
 * @throws {StreamError} the stream is damaged, refused or past a limit
 * @throws {DifferenceError} `digest_mismatch`: not the expected tree, or not on disk
 * @throws {OpError} `exists`, `no_space`, ...; nothing is left behind in any case
 */
export async function receiveStream(
  source: ByteSource,
  options: ReceiveOptions,
): Promise<ReceiveResult> {
  const policy = options.policy ?? PLUGIN_POLICY;
  using receiver = new Receiver(options, policy, options.limits ?? PLUGIN_LIMITS);
  try {
    return await receiver.run(source);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw isSysError(error)
      ? asOpError(error, `Cannot receive ${source.name} into ${options.folder}`)
      : error;
  }
}

/** What an audit of the whole stream says. */
interface Audited {
  readonly digest: string;
  readonly identity: StreamIdentity;
  readonly rootMode: number;
  readonly totals: Readonly<AuditTotals>;
}

class Receiver implements Disposable {
  readonly #options: ReceiveOptions;
  readonly #policy: StreamPolicy;
  readonly #limits: StreamLimits;
  readonly #folderFd: number;
  readonly #kind: StagingKind;
  #parentFd = -1;
  #base: BaseTree | null = null;
  #staging: Staging | null = null;
  #applier: Applier | null = null;
  #identity: StreamIdentity | null = null;
  #worker: HashWorker | null = null;
  #early: EarlyDigests | null = null;

  constructor(options: ReceiveOptions, policy: StreamPolicy, limits: StreamLimits) {
    this.#options = options;
    this.#policy = policy;
    this.#limits = limits;
    this.#folderFd = open(options.folder, O_RDONLY | O_DIRECTORY);
    const canBeSubvolume = effectiveUid() === 0 && isBtrfs(this.#folderFd);
    this.#kind = canBeSubvolume && !options.plain ? "btrfs" : "plain";
  }

  async run(source: ByteSource): Promise<ReceiveResult> {
    if (this.#options.name !== undefined) this.#checkName(this.#options.name);
    cleanReceivesFd(this.#folderFd);
    if (this.#policy.virtualTree) this.#worker = workerFor(source);
    if (this.#worker) this.#early = new EarlyDigests(this.#worker);
    const before = this.#policy.virtualTree && source.replayable
      ? await this.#audit(source)
      : null;
    const lockstep = this.#policy.virtualTree && !before ? this.#auditor() : null;
    const done = await this.#apply(source, lockstep ?? new StreamGuard(this.#policy));
    const staging = this.#staging;
    if (!staging || !this.#applier) throw new TypeError("the stream never began");
    // The disk writes while the tree is read back: both take their time.
    this.#applier.settle();
    const synced = syncfsLater(staging.fd);
    let audited: Audited | null;
    try {
      await this.#worker?.settled();
      audited = before ?? (lockstep && this.#audited(lockstep, staging));
      if (audited) this.#compareDisk(audited, staging);
    } finally {
      await synced;
    }
    this.#applier.finish();
    this.#applier = null;
    const path = this.#publish(staging);
    return {
      path,
      kind: this.#kind,
      identity: this.#identity!,
      localUuid: this.#kind === "btrfs" ? subvolumeInfo(staging.fd).uuid : null,
      digest: audited?.digest ?? null,
      ...done,
      totals: audited?.totals ?? null,
    };
  }

  /** The whole stream, before anything touches the disk. */
  async #audit(source: ByteSource): Promise<Audited> {
    const { signal, progress } = this.#options;
    const found = this.#options.audited ?? await auditStream(source, {
      policy: this.#policy,
      limits: this.#limits,
      worker: this.#worker,
      base: (identity) => this.#baseTree(identity),
      ...(signal && { signal }),
      ...(progress && { progress: (bytes) => progress(bytes, "audit") }),
    });
    const { digest, identity, tree, totals } = found;
    if (digest === null) throw new TypeError("a replayable source has no digest");
    this.#compareExpected(digest);
    this.#checkName(this.#nameOf(identity));
    return { digest, identity, rootMode: tree.root.mode, totals };
  }

  /** For a stream that can only be read once: audits each command before it is applied. */
  #auditor(): Auditor {
    return new Auditor({
      policy: this.#policy,
      limits: this.#limits,
      hashing: true,
      worker: this.#worker,
      base: (identity) => this.#baseTree(identity),
    });
  }

  /** What such an audit found, once the stream has ended. */
  #audited({ tree, identity, totals }: Auditor, staging: Staging): Audited {
    hashUnresolved(tree, staging.fd);
    const digest = digestOfTree(tree);
    this.#compareExpected(digest);
    return { digest, identity, rootMode: tree.root.mode, totals };
  }

  /**
   * Parses, checks and applies. After an audit of the whole stream the guard is enough: a
   * source that changed since then still meets the policy command by command, the applier
   * by itself stays beneath, and the identity and digest are compared with the audited.
   */
  async #apply(source: ByteSource, checker: Auditor | StreamGuard) {
    const { signal, progress } = this.#options;
    const { streamBytes, commands } = await parseSource(source, {
      limits: this.#limits,
      trustData: this.#policy.virtualTree && checker instanceof StreamGuard,
      ...(signal && { signal }),
      ...(progress && { progress: (bytes) => progress(bytes, "receive") }),
    }, (command: StreamCommand) => {
      checker.handle(command);
      if (this.#applier) this.#applier.handle(command);
      else this.#begin(checker.identity!);
    });
    return { streamBytes, commands };
  }

  #compareDisk({ digest, identity, rootMode }: Audited, staging: Staging): void {
    const { uuid, ctransid } = this.#identity!;
    if (identity.uuid !== uuid || identity.ctransid !== ctransid) {
      throw new OpError("source_changed", "Cannot receive: the source changed meanwhile");
    }
    // The root's own mode comes last: until then nobody else can look in.
    const known = (stat: Stat) => this.#early?.find(stat) ?? null;
    const found = digestOfFd(staging.fd, { rootMode, known });
    this.#compare(digest, found, "what is on disk");
  }

  /** Makes the staging once it is known who the stream is. */
  #begin(identity: StreamIdentity): void {
    this.#identity = identity;
    this.#checkName(this.#nameOf(identity));
    const base = identity.parent ? this.#openParent(identity) : -1;
    const staging = Staging.create(this.#folderFd, this.#kind, base < 0 ? null : base);
    this.#staging = staging;
    const { owners } = this.#policy;
    this.#applier = new Applier({
      rootFd: staging.fd,
      rootMode: staging.baseMode,
      owners: effectiveUid() !== 0 ? "leave" : owners === "any" ? "keep" : "root",
      btrfs: this.#kind === "btrfs",
      early: this.#early,
      cloneRoot: (bytes) => {
        const uuid = uuidText(bytes);
        if (uuid === identity.uuid) return staging.fd;
        return uuid === identity.parent?.uuid && base >= 0 ? base : null;
      },
    });
  }

  #nameOf(identity: StreamIdentity): string {
    return this.#options.name ??
      new TextDecoder("utf-8", { fatal: false }).decode(binaryBytes(identity.name));
  }

  #checkName(name: string): void {
    const bytes = new TextEncoder().encode(name);
    // Whatever is shown on a terminal: the stream's own name is its sender's.
    const painted = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name);
    if (pathFault(bytes, 1) !== null || name.startsWith(".") || painted) {
      throw new InputError("bad_name", `Cannot name what is received '${name}'`, {
        hint:
          "choose a name without a slash or control characters, that begins with no dot",
      });
    }
    try {
      statAt(this.#folderFd, bytes);
    } catch (error) {
      if (isSysError(error, "ENOENT")) return;
      throw error;
    }
    throw this.#exists(name);
  }

  #exists(name: string): OpError {
    const path = `${this.#options.folder}/${name}`;
    return new OpError("exists", `Cannot receive into ${path}: it exists already`);
  }

  #parentOf(identity: StreamIdentity): ParentSnapshot {
    const found = identity.parent && this.#options.parent?.(identity.parent);
    if (found && (found.digest !== null || !this.#policy.virtualTree)) return found;
    throw new OpError(
      "no_parent",
      `Cannot receive a difference: its base ${identity.parent?.uuid} is not here`,
      { hint: "receive the base first, or take the full package" },
    );
  }

  /** The parent's root folder. */
  #openParent(identity: StreamIdentity): number {
    if (this.#base) return this.#base.fd;
    if (this.#parentFd < 0) this.#parentFd = openFolder(this.#parentOf(identity).path);
    return this.#parentFd;
  }

  /** The parent, read and compared with its recorded digest; once. */
  #baseTree(identity: StreamIdentity): BaseTree {
    if (this.#base) return this.#base;
    const parent = this.#parentOf(identity);
    this.#base = BaseTree.read(parent.path);
    this.#compare(parent.digest!, this.#base.digest, `the base ${parent.path}`);
    return this.#base;
  }

  #compareExpected(digest: string): void {
    const { expectedDigest } = this.#options;
    if (expectedDigest !== undefined) {
      this.#compare(expectedDigest, digest, "the stream");
    }
  }

  #compare(expected: string, actual: string, what: string): void {
    if (expected === actual) return;
    throw new DifferenceError(
      "digest_mismatch",
      `Cannot receive: ${what} has tree digest ${actual}, not ${expected}`,
      { hint: "nothing was installed; fetch the file again, or check the disk" },
    );
  }

  /** Syncs, marks, shows. The order is what makes it safe against a crash. */
  #publish(staging: Staging): string {
    const { uuid, ctransid } = this.#identity!, name = this.#nameOf(this.#identity!);
    if (this.#kind === "plain") syncfs(staging.fd);
    else syncFileSystem(staging.fd);
    if (this.#kind === "btrfs" && !this.#options.writable) {
      setReceived(staging.fd, uuid, ctransid);
      setReadOnly(staging.fd, true);
    }
    this.#options.signal?.throwIfAborted();
    try {
      staging.publish(new TextEncoder().encode(name));
    } catch (error) {
      throw isSysError(error, "EEXIST") ? this.#exists(name) : error; // made meanwhile
    }
    if (this.#kind === "btrfs") syncFileSystem(this.#folderFd);
    return `${this.#options.folder}/${name}`;
  }

  [Symbol.dispose](): void {
    // Each is done, whatever another one throws; the last comes first.
    using all = new DisposableStack();
    all.defer(() => close(this.#folderFd));
    all.defer(() => this.#parentFd >= 0 && close(this.#parentFd));
    for (const one of [this.#base, this.#staging, this.#worker, this.#applier]) {
      all.use(one);
    }
  }
}
