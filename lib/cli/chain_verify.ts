/** op-dbus chain verify */
import type { ChainReport } from "../chain/verify.ts";
import { DifferenceError, InputError } from "../base/errors.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { textFlag, toggle } from "./flags.ts";
import { progressBar } from "./progress.ts";

/** Faults that are listed; the rest is counted. */
const SHOWN = 20;
const NOTE_LIMIT_BYTES = 16 * 1024;

interface VerifyFlags {
  readonly full?: boolean;
  readonly against?: string;
  readonly key?: string;
  readonly folder?: string;
}

export const chainVerify = command<VerifyFlags>({
  brief: "Check every byte of the chain",
  description:
    "Exit 3 when anything is wrong. Whoever is root on this host can write another\n" +
    "history and sign it: only a checkpoint that was kept elsewhere shows that\n" +
    "(--against). --full also checks every kept checkpoint and every kept state.",
  examples: [
    "op-dbus chain verify",
    "op-dbus chain verify --full --against /mnt/usb/checkpoint",
    "op-dbus chain verify --folder /mnt/backup/timing/timing@2026-01-31-10:00",
  ],
  flags: {
    full: toggle("Also kept checkpoints and states"),
    against: textFlag("A checkpoint that the chain must extend", "FILE"),
    folder: textFlag("A snapshot or replica of @timing, instead of the chain", "DIR"),
    key: textFlag("Verifier key that signed it (default: this host's)", "FILE"),
  },
  async run(context, flags) {
    const { requireRoot } = await import("../base/root.ts");
    const { layout } = context;
    if (flags.folder === undefined) requireRoot(layout.root);
    else await requireChain(flags.folder, flags.full ?? false);
    const bar = progressBar(context.out, "Verifying", 0, "blocks");
    let report: ChainReport;
    try {
      const { verifyChain } = await import("../chain/verify.ts");
      const { verifyEverything } = await import("../chain/verify_full.ts");
      const key = await verifierKey(context, flags);
      const options = {
        ...(key && { key }),
        against: flags.against ? [await readCheckpoint(context, flags)] : [],
        signal: context.signal,
        onProgress: (done: number, total: number) => bar.update(done, total),
      };
      report = flags.full
        ? await verifyEverything(layout, options)
        : await verifyChain(flags.folder ?? layout.timing, options);
    } finally {
      bar.stop();
    }
    for (const note of report.notes) context.out.warn(note);
    context.out.result(report, () => describe(report));
    if (!report.ok) {
      throw new DifferenceError("chain_damaged", "The chain is damaged or was changed", {
        hint: "compare with a snapshot of @timing, or with an export kept elsewhere",
      });
    }
  },
});

/** @throws {InputError} the folder holds no chain, or is asked for more than it holds */
async function requireChain(folder: string, full: boolean): Promise<void> {
  if (full) {
    throw new InputError("bad_usage", "Cannot verify states beside a folder's blocks", {
      hint: "give --folder without --full",
    });
  }
  const { isFolder, statAt } = await import("../../ffi/stat.ts");
  const { AT_FDCWD } = await import("../../ffi/files.ts");
  const { isSysError } = await import("../../ffi/errno.ts");
  try {
    if (isFolder(statAt(AT_FDCWD, `${folder}/blocks`))) return;
  } catch (error) {
    if (!isSysError(error, "ENOENT") && !isSysError(error, "ENOTDIR")) throw error;
  }
  throw new InputError("no_chain", `Cannot verify ${folder}: it holds no blocks/`, {
    hint: "name a snapshot or replica of @timing",
  });
}

/**
 * The key that signs the chain: this host's, null before the chain began. A folder may
 * be another host's chain: only a key that was named counts.
 */
async function verifierKey({ layout }: Context, { folder, key }: VerifyFlags) {
  const { publicKeyPath, readVerifierKey } = await import("../chain/host_key.ts");
  const { isSysError } = await import("../../ffi/errno.ts");
  if (folder !== undefined) return key === undefined ? null : readVerifierKey(key);
  try {
    return readVerifierKey(publicKeyPath(layout));
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
}

async function readCheckpoint({ layout }: Context, { against, key }: VerifyFlags) {
  const { readTextFile } = await import("../../ffi/directory.ts");
  const { openCheckpoint } = await import("../chain/checkpoint.ts");
  const { publicKeyPath, readVerifierKey } = await import("../chain/host_key.ts");
  const text = readTextFile(against!, NOTE_LIMIT_BYTES);
  const verifier = readVerifierKey(key ?? publicKeyPath(layout));
  return { name: against!, checkpoint: openCheckpoint(text, verifier) };
}

function describe({ ok, blocks, root, faults, compacted }: ChainReport): string {
  const shown = faults.slice(0, SHOWN).map(({ block, problem }) =>
    block === null ? problem : `block ${block}: ${problem}`
  );
  const more = faults.length - shown.length;
  return [
    `${blocks} blocks, root ${root}`,
    ...(compacted > 0 ? [`${compacted} of them without their data (compacted)`] : []),
    ...(ok ? ["Nothing is wrong"] : shown),
    ...(more > 0 ? [`and ${more} more`] : []),
  ].join("\n");
}
