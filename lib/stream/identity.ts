/** Who a stream says it is. */
import { formatUuid } from "../../ffi/btrfs.ts";
import type { StreamCommand } from "./command.ts";
import { binaryString } from "./paths.ts";

/** Who the stream says it is. */
export interface StreamIdentity {
  /** Name of the subvolume, binary string. */
  readonly name: string;
  /** 36 characters, as `btrfs subvolume show` prints it. */
  readonly uuid: string;
  readonly ctransid: bigint;
  /** Of the snapshot that it is a difference to; null when it is full. */
  readonly parent: { readonly uuid: string; readonly ctransid: bigint } | null;
}

const NO_UUID = "00000000-0000-0000-0000-000000000000";

/** A UUID as text, 36 characters. */
export function uuidText(bytes: Uint8Array): string {
  return formatUuid(bytes) ?? NO_UUID;
}

/** Who a stream says it is. */
export function identityOf(
  command: StreamCommand & { type: "subvol" | "snapshot" },
): StreamIdentity {
  const parent = command.type === "snapshot"
    ? { uuid: uuidText(command.cloneUuid), ctransid: command.cloneCtransid }
    : null;
  return {
    name: binaryString(command.path),
    uuid: uuidText(command.uuid),
    ctransid: command.ctransid,
    parent,
  };
}
