/** op-dbus chain checkpoint, op-dbus chain prove */
import { command } from "./command.ts";
import { argument, countFlag } from "./flags.ts";
import { openChain } from "./open_chain.ts";

export const chainCheckpoint = command({
  brief: "Print a signed checkpoint, to be kept on another machine",
  description:
    "With a checkpoint that this host cannot change, truncating or rewriting the chain\n" +
    "shows: op-dbus chain verify --against FILE. The format is a signed note (C2SP).",
  examples: ["op-dbus chain checkpoint > /mnt/usb/checkpoint"],
  flags: {},
  async run(context) {
    const { Ledger } = await import("../chain/ledger.ts");
    const { publicKeyPath, readVerifierKey } = await import("../chain/host_key.ts");
    const { parseNote } = await import("../chain/checkpoint.ts");
    await openChain(context);
    using ledger = new Ledger(context.layout, {
      onNotice: (notice) => context.out.warn(notice),
    });
    const note = await ledger.checkpoint();
    const { checkpoint } = parseNote(note);
    const key = readVerifierKey(publicKeyPath(context.layout)).text;
    context.out.result(
      { note, key, size: checkpoint.size, root: checkpoint.root.toHex() },
      () => note.trimEnd(),
    );
  },
});

export const chainProve = command<{ since?: number; size?: number }, [string?]>({
  brief: "Prove that a block is in the chain, or that the chain extends an older size",
  description:
    "The proof is RFC 6962's; its root is that of the checkpoint of that size.",
  examples: ["op-dbus chain prove 17 --json", "op-dbus chain prove --since 100 --json"],
  flags: {
    since: countFlag("Prove that the chain extends its first N blocks", "N", 1),
    size: countFlag("In the tree of the first N blocks (default: all)", "N", 1),
  },
  positional: {
    kind: "tuple",
    parameters: [{ ...argument("Block number", "N"), optional: true }],
  },
  async run(context, { since, size }, block) {
    const { InputError } = await import("../base/errors.ts");
    const { proveConsistency, proveInclusion } = await import("../chain/proofs.ts");
    const number = block === undefined ? undefined : Number(block);
    const valid = since === undefined
      ? Number.isSafeInteger(number) && number! >= 0
      : number === undefined;
    if (!valid) {
      throw new InputError("usage", "Cannot prove: give a block number, or --since N");
    }
    const reader = await openChain(context);
    const proof = since === undefined
      ? await proveInclusion(reader, number!, size, context.signal)
      : await proveConsistency(reader, since, size, context.signal);
    context.out.result(
      proof,
      () =>
        Object.entries(proof).map(([key, value]) =>
          `${key.padEnd(9)} ${Array.isArray(value) ? value.join("\n          ") : value}`
        ).join("\n"),
    );
  },
});
