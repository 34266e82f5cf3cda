/**
 * The rules of a stream that is trusted to be the host's own, without a tree in memory:
 * one subvolume, first, and what the policy allows command by command.
 */
import type { StreamCommand } from "./command.ts";
import { StreamError } from "./error.ts";
import { identityOf, type StreamIdentity } from "./identity.ts";
import { binaryString } from "./paths.ts";
import { decodeEncoded } from "./zstd.ts";
import { isListed, type StreamPolicy } from "./policy.ts";

/** Checks commands one by one; constant memory. */
export class StreamGuard {
  readonly #policy: StreamPolicy;
  #identity: StreamIdentity | null = null;

  constructor(policy: StreamPolicy) {
    this.#policy = policy;
  }

  /** Null before the first command. */
  get identity(): StreamIdentity | null {
    return this.#identity;
  }

  /** @throws {StreamError} on what may not be */
  handle(command: StreamCommand): void {
    const refuse = (what: string) => {
      throw new StreamError("stream_refused", what, command.at);
    };
    if (command.type === "subvol" || command.type === "snapshot") {
      if (this.#identity) refuse("a second subvolume");
      this.#identity = identityOf(command);
      if (this.#identity.name.includes("/")) refuse("the subvolume's name is a path");
      return;
    }
    if (!this.#identity) refuse(`${command.type} comes before the subvolume`);
    const { name, kinds, hardLinks, modeMask, xattrs, withoutData } = this.#policy;
    const special = (kind: typeof kinds[number]) => {
      if (!kinds.includes(kind)) refuse(`a ${kind} is not allowed in a ${name}`);
    };
    if (command.type === "mknod") special(isBlock(command.mode) ? "block" : "char");
    else if (command.type === "mkfifo") special("fifo");
    else if (command.type === "mksock") special("socket");
    else if (command.type === "link" && !hardLinks) refuse("a hard link");
    else if (command.type === "chmod" && (command.mode & 0o7777 & ~modeMask) !== 0) {
      refuse(`mode 0${command.mode.toString(8)}`);
    } else if (command.type === "set_xattr") {
      const key = binaryString(command.name);
      if (!isListed(xattrs, key)) refuse(`attribute ${key}`);
    } else if (command.type === "encoded_write") {
      decodeEncoded(command); // the kernel takes what does not decode, and gives EIO later
    } else if (command.type === "update_extent" && !withoutData) {
      refuse("a stream without file data");
    }
  }
}

function isBlock(mode: number): boolean {
  return (mode & 0o170000) === 0o060000;
}
