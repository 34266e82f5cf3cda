/**
 * A private message bus for a test: a real dbus-daemon on a socket of its own, with
 * whatever services the test starts on it. Never the host's bus.
 */
import { tempFolder } from "./scratch.ts";

/** A dbus-daemon that is gone when the test ends. */
export interface PrivateBus extends AsyncDisposable {
  readonly address: string;
  readonly folder: string;
  readonly pid: number;
  /** Starts a program on this bus and waits until it owns `name`. */
  start(name: string, command: string, ...args: string[]): Promise<Deno.ChildProcess>;
  /** Ends the daemon at once, as a crash would; services on it see that. */
  kill(): Promise<void>;
  /** Starts another daemon on the same address after {@link kill}; nobody is on it. */
  revive(): Promise<void>;
}

const CONFIG = (socket: string, limits: string) =>
  `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy>${limits}</busconfig>`;

/** Python that sees Debian's gi; another python3 may come first on PATH. */
export const PYTHON = "/usr/bin/python3";

/** Starts a bus. `limits` are more elements of its configuration. */
export async function privateBus(limits = ""): Promise<PrivateBus> {
  const scratch = await tempFolder("op-dbus-bus-");
  const socket = `${scratch.path}/socket`, config = `${scratch.path}/bus.conf`;
  await Deno.writeTextFile(config, CONFIG(socket, limits));
  const spawn = async () => {
    const started = new Deno.Command("dbus-daemon", {
      args: [`--config-file=${config}`, "--nofork", "--nopidfile", "--print-address"],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    await firstChunk(started.stdout);
    return started;
  };
  let daemon = await spawn();
  const address = `unix:path=${socket}`;
  const children: Deno.ChildProcess[] = [];
  let dead = false;
  const kill = async () => {
    if (!dead) daemon.kill("SIGKILL");
    dead = true;
    await daemon.status;
  };
  return {
    address,
    folder: scratch.path,
    get pid() {
      return daemon.pid;
    },
    kill,
    async revive() {
      daemon = await spawn();
      dead = false;
    },
    async start(name, command, ...args) {
      const child = new Deno.Command(command, {
        args,
        stdin: "null",
        stdout: "null",
        stderr: "null",
        env: { DBUS_SYSTEM_BUS_ADDRESS: address, DBUS_SESSION_BUS_ADDRESS: address },
      }).spawn();
      children.push(child);
      await ownerAppears(address, name);
      return child;
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) {
        try {
          child.kill("SIGKILL");
        } catch (error) {
          // It ended by itself; anything else is a test's fault.
          if (!(error instanceof TypeError)) throw error;
        }
        await child.status;
      }
      await kill();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

async function firstChunk(stream: ReadableStream<Uint8Array>): Promise<void> {
  const reader = stream.getReader();
  await reader.read();
  await reader.cancel();
}

/** Waits for a name by an independent client (gdbus wait has its own limit). */
async function ownerAppears(address: string, name: string): Promise<void> {
  const out = await new Deno.Command("gdbus", {
    args: ["wait", "--address", address, "--timeout", "20", name],
    env: { DBUS_SESSION_BUS_ADDRESS: address },
    stdin: "null",
    stderr: "piped",
  }).output();
  if (!out.success) {
    throw new Error(`${name} never came: ${new TextDecoder().decode(out.stderr)}`);
  }
}

/** Runs a client on the bus and gives its standard output. */
export async function client(
  address: string,
  command: string,
  ...args: string[]
): Promise<string> {
  const out = await new Deno.Command(command, {
    args,
    env: { DBUS_SESSION_BUS_ADDRESS: address, DBUS_SYSTEM_BUS_ADDRESS: address },
    stdin: "null",
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!out.success) {
    throw new Error(`${command} ${args.join(" ")}: ${decode(out.stderr)}`);
  }
  return decode(out.stdout);
}
