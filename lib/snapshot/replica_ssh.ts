/** Another host as the receiving side: op-dbus there, or plain `btrfs receive`. */
import { OpError } from "../base/errors.ts";
import {
  isLeftover,
  isVisible,
  type Remote,
  type Replica,
  type Shipment,
} from "./replica.ts";
import { proveReceived } from "./replica_folder.ts";
import {
  parseSshUrl,
  readOverSsh,
  runOverSsh,
  type SshOptions,
  type SshResult,
  type SshTarget,
} from "./ssh.ts";

/** What runs there. */
export interface RemoteOptions extends SshOptions {
  /** `auto` asks the host which it has. */
  readonly remote?: "auto" | "op-dbus" | "btrfs";
  /** The command there, with what comes before it: `sudo -n op-dbus`. */
  readonly command?: readonly string[];
  readonly signal?: AbortSignal;
}

/** zstd on the wire: fast enough for a disk, a third of the bytes for text. */
const WIRE_ZSTD_LEVEL = 3;

/**
 * @param url `ssh://user@host/path`
 * @throws {InputError} `bad_url`
 * @throws {OpError} `ssh_failed`; `no_receiver` when the host has neither program
 */
export async function sshReplica(
  url: string,
  options: RemoteOptions = {},
): Promise<Replica> {
  const target = parseSshUrl(url),
    aborting = options.signal && { signal: options.signal };
  const has = async (command: readonly string[]) =>
    (await runOverSsh(target, command, { ...options, ...aborting })).code === 0;
  const wanted = options.remote ?? "auto";
  const command = options.command ?? (wanted === "btrfs" ? ["btrfs"] : ["op-dbus"]);
  if (wanted === "op-dbus" || (wanted === "auto" && await has([...command, "version"]))) {
    return new OpDbusReplica(url, target, command, options);
  }
  const btrfs = wanted === "btrfs" ? command : ["btrfs"];
  if (wanted === "btrfs" || await has([...btrfs, "--version"])) {
    return new BtrfsReplica(url, target, btrfs, options);
  }
  throw new OpError(
    "no_receiver",
    `Cannot send to ${url}: no op-dbus and no btrfs there`,
    {
      hint: "install one of them there, or name it with --remote-command",
    },
  );
}

abstract class SshReplica implements Replica {
  abstract readonly takesCompressed: boolean;
  constructor(
    readonly label: string,
    protected readonly target: SshTarget,
    protected readonly command: readonly string[],
    private readonly options: RemoteOptions,
  ) {}

  abstract list(signal?: AbortSignal): Promise<Remote[]>;
  abstract receive(chunks: AsyncIterable<Uint8Array>, what: Shipment): Promise<Remote>;
  abstract digest(name: string, signal?: AbortSignal): Promise<string | null>;
  abstract remove(names: readonly string[], signal?: AbortSignal): Promise<void>;

  /** Runs a command there; @throws {OpError} `remote_failed` when it fails */
  protected async run(
    command: readonly string[],
    more: { input?: AsyncIterable<Uint8Array>; signal?: AbortSignal | undefined } = {},
  ): Promise<string> {
    const { input, signal } = more;
    const result: SshResult = await runOverSsh(this.target, command, {
      ...this.options,
      ...(input && { input }),
      ...(signal && { signal }),
    });
    this.#requireDone(command, result);
    return result.stdout;
  }

  /** What a command there prints, as it comes; @throws {OpError} `remote_failed` */
  protected async *read(
    command: readonly string[],
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void> {
    const options = { ...this.options, ...(signal && { signal }) };
    this.#requireDone(command, yield* readOverSsh(this.target, command, options));
  }

  #requireDone(command: readonly string[], { code, reason }: SshResult): void {
    if (code === 0) return;
    const what = command.slice(0, this.command.length + 2).join(" ");
    const why = reason || `it ended with ${code}`;
    throw new OpError("remote_failed", `${this.label}: ${what} failed: ${why}`, {
      hint: "run it there by hand to see more",
    });
  }
}

/** What op-dbus prints for `snapshot list --folder` and `snapshot receive`. */
interface RemoteJson {
  readonly name: string;
  readonly uuid: string;
  readonly received_uuid: string | null;
  readonly read_only: boolean;
}

/** @throws {TypeError} when it is nothing of the kind */
function fromJson(json: RemoteJson): Remote {
  if (typeof json?.name !== "string" || typeof json.uuid !== "string") {
    throw new TypeError("no snapshot");
  }
  return {
    name: json.name,
    uuid: json.uuid,
    receivedUuid: typeof json.received_uuid === "string" ? json.received_uuid : null,
    readOnly: json.read_only === true,
  };
}

class OpDbusReplica extends SshReplica {
  override readonly takesCompressed = true;

  #verb(verb: string, ...more: string[]): string[] {
    const folder = ["--folder", this.target.path];
    return [...this.command, "snapshot", verb, ...folder, "--json", ...more];
  }

  /** @param read throws a TypeError or SyntaxError on what is no such answer */
  #parse<T>(text: string, read: (json: unknown) => T): T {
    try {
      return read(JSON.parse(text));
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
      throw new OpError("remote_failed", `${this.label}: its answer is not op-dbus's`, {
        cause: error,
        hint: "is what runs there op-dbus, and of this version?",
      });
    }
  }

  override async list(signal?: AbortSignal): Promise<Remote[]> {
    const text = await this.run(this.#verb("list"), { signal });
    return this.#parse(
      text,
      (json) => (json as { snapshots: RemoteJson[] }).snapshots.map(fromJson),
    );
  }

  override async receive(chunks: AsyncIterable<Uint8Array>, what: Shipment) {
    const { zstdFrame } = await import("../stream/save.ts");
    const input = zstdFrame(chunks, WIRE_ZSTD_LEVEL);
    const command = this.#verb("receive", "--name", what.name);
    const text = await this.run(command, { input, signal: what.signal });
    const there = this.#parse(text, (json) => fromJson(json as RemoteJson));
    return proveReceived([there], what.name, what.uuid, this.label);
  }

  override async digest(name: string, signal?: AbortSignal): Promise<string> {
    const text = await this.run(this.#verb("verify", name), { signal });
    return this.#parse(text, (json) => {
      const { digest } = json as { digest: unknown };
      if (typeof digest === "string") return digest;
      throw new TypeError("no digest");
    });
  }

  override async remove(names: readonly string[], signal?: AbortSignal): Promise<void> {
    if (names.length === 0) return;
    await this.run(this.#verb("delete", "--yes", ...names), { signal });
  }
}

class BtrfsReplica extends SshReplica {
  override readonly takesCompressed = false;

  override async list(signal?: AbortSignal): Promise<Remote[]> {
    await this.run(["mkdir", "-p", this.target.path], { signal });
    const { path } = this.target;
    const text = await this.run([
      ...["find", path, "-mindepth", "1", "-maxdepth", "1", "-type", "d", "-inum", "256"],
      ...["-exec", ...this.command, "subvolume", "show", "{}", ";"],
    ], { signal });
    return parseShow(text);
  }

  override async receive(chunks: AsyncIterable<Uint8Array>, what: Shipment) {
    const left = (await this.list(what.signal)).find((one) => isLeftover(one, what.name));
    if (left) await this.remove([what.name], what.signal);
    const command = [...this.command, "receive", this.target.path];
    await this.run(command, { input: chunks, signal: what.signal });
    // It marks what it received without a sync of its own: a crash there would keep the
    // mark and lose content.
    const sync = [...this.command, "filesystem", "sync", this.target.path];
    await this.run(sync, { signal: what.signal });
    const remotes = await this.list(what.signal);
    return proveReceived(remotes, what.name, what.uuid, this.label);
  }

  /**
   * Reads the snapshot back, in full, for plain btrfs has no other way to tell all that it
   * holds. What is cloned inside of it may take another pass.
   */
  override async digest(name: string, signal?: AbortSignal): Promise<string | null> {
    const [{ auditStream }, { chunksSource }, { HOST_POLICY }, { HOST_LIMITS }] =
      await Promise.all([
        import("../stream/inspect.ts"),
        import("../stream/source.ts"),
        import("../stream/policy.ts"),
        import("../stream/limits.ts"),
      ]);
    const command = [...this.command, "send", "-q", `${this.target.path}/${name}`];
    const source = {
      name: `${this.label}/${name}`,
      replayable: true,
      open: () => chunksSource(this.read(command, signal)).open(),
    };
    const { digest } = await auditStream(source, {
      policy: HOST_POLICY,
      limits: HOST_LIMITS,
      ...(signal && { signal }),
    });
    return digest;
  }

  override async remove(names: readonly string[], signal?: AbortSignal): Promise<void> {
    if (names.length === 0) return;
    const paths = names.map((name) => `${this.target.path}/${name}`);
    await this.run([...this.command, "subvolume", "delete", ...paths], { signal });
  }
}

/** `btrfs subvolume show` of several subvolumes, one after the other. */
export function parseShow(text: string): Remote[] {
  return text.split(/\n(?=\S)/).flatMap((block) => {
    const field = (name: string) =>
      new RegExp(`^\\t${name}:[ \\t]*(.*)$`, "m").exec(block)?.[1]?.trim();
    const name = field("Name"), uuid = field("UUID"), received = field("Received UUID");
    if (!name || !uuid || !isVisible(name)) return [];
    return [{
      name,
      uuid,
      receivedUuid: received === undefined || received === "-" ? null : received,
      readOnly: field("Flags")?.includes("readonly") ?? false,
      wasReceived: (field("Receive transid") ?? "0") !== "0",
    }];
  });
}
