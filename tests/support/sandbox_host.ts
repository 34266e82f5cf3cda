/**
 * Real system services on a private bus in private namespaces: /etc and /var are overlays,
 * /run and /home are empty, the network has a loopback only. What the services write is gone with
 * the sandbox; the host's files, bus and firewall are never touched. The bus's socket lies
 * in a folder that both sides see.
 */
import { effectiveUid } from "../../ffi/files.ts";
import { Bus } from "../../lib/dbus/bus.ts";
import { tempFolder } from "./scratch.ts";

/** The services of the built-in plugins, by bus name, as Debian installs them. */
const SERVICES: Readonly<Record<string, string>> = {
  "org.freedesktop.hostname1": "/lib/systemd/systemd-hostnamed",
  "org.freedesktop.timedate1": "/lib/systemd/systemd-timedated",
  "org.freedesktop.locale1": "/lib/systemd/systemd-localed",
  "org.freedesktop.machine1": "/lib/systemd/systemd-machined",
  "org.fedoraproject.FirewallD1": "/usr/sbin/firewalld --nofork --nopid",
  "org.freedesktop.Accounts": "/usr/libexec/accounts-daemon",
  "org.freedesktop.PolicyKit1": "/usr/lib/polkit-1/polkitd --no-debug",
};

const FIREWALL = "org.fedoraproject.FirewallD1";

const SETUP = `set -eu
D=$1
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/lock /run/sb/eu /run/sb/ew /run/sb/vu /run/sb/vw
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/sb/eu,workdir=/run/sb/ew /etc
mount -t overlay overlay -o lowerdir=/var,upperdir=/run/sb/vu,workdir=/run/sb/vw /var
mount -t tmpfs tmpfs /home
ip link set lo up
hostname sandbox
mkdir -p /var/lib/machines/base && echo hello > /var/lib/machines/base/file
# polkitd gives up root, and cannot enter the test's folder.
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket
# No CAP_SYS_TIME: timedated's first settimeofday(2) would warp the whole machine's clock.
exec setpriv --bounding-set=-sys_time --inh-caps=-sys_time \\
  dbus-daemon --config-file=$D/bus.conf --nofork --nopidfile --print-address
`;

const CONFIG = (folder: string) =>
  `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=${folder}/socket</listen>
<listen>unix:path=/run/dbus/system_bus_socket</listen>
<auth>EXTERNAL</auth><servicedir>${folder}/services</servicedir>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`;

/** A private bus that starts real services when they are called. */
export interface SandboxHost extends AsyncDisposable {
  readonly address: string;
}

/** Starts the sandbox; services start on the first call, as on a real host. */
export async function sandboxHost(): Promise<SandboxHost> {
  const scratch = await tempFolder("op-dbus-host-");
  const folder = scratch.path;
  await Deno.writeTextFile(`${folder}/bus.conf`, CONFIG(folder));
  await Deno.mkdir(`${folder}/services`);
  for (const [name, command] of Object.entries(SERVICES)) {
    // Not the pipe that the daemon prints its address into: that is closed early.
    const exec = `/bin/sh -c 'exec ${command} >/dev/null 2>&1'`;
    const text = `[D-BUS Service]\nName=${name}\nExec=${exec}\nUser=root\n`;
    await Deno.writeTextFile(`${folder}/services/${name}.service`, text);
  }
  const daemon = new Deno.Command("unshare", {
    args: [
      "--mount",
      "--uts",
      "--net",
      "--propagation",
      "private",
      "sh",
      "-c",
      SETUP,
      "sh",
      folder,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = daemon.stdout.getReader();
  const { value } = await reader.read();
  if (!value) throw new Error("the sandbox did not start");
  await reader.cancel();
  return {
    address: `unix:path=${folder}/socket`,
    async [Symbol.asyncDispose]() {
      // Some services outlive their bus: they are ended first, each by its own pid.
      for (const pid of await servicePids(`unix:path=${folder}/socket`)) {
        Deno.kill(pid, "SIGKILL");
      }
      daemon.kill("SIGKILL");
      await daemon.status;
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** Processes of the services that run on a bus. */
async function servicePids(address: string): Promise<number[]> {
  await using bus = await Bus.connect(address);
  const pids: number[] = [];
  for (const name of Object.keys(SERVICES)) {
    if (!(await bus.driver("NameHasOwner", "s", [name]))) continue;
    pids.push(await bus.driver("GetConnectionUnixProcessID", "s", [name]) as number);
  }
  return pids;
}

/** A test with real services; ignored (and named as skipped) where it cannot run. */
export function hostTest(name: string, fn: () => Promise<void>): void {
  const needed = Object.keys(SERVICES).filter((service) => service !== FIREWALL);
  Deno.test({ name, fn, ignore: effectiveUid() !== 0 || !installed(needed) });
}

/** {@link hostTest} that needs firewalld too, which scripts/test may not install. */
export function firewallTest(name: string, fn: () => Promise<void>): void {
  const needed = Object.keys(SERVICES);
  Deno.test({ name, fn, ignore: effectiveUid() !== 0 || !installed(needed) });
}

function installed(services: readonly string[]): boolean {
  return services.every((service) => {
    try {
      return Deno.statSync(SERVICES[service]!.split(" ")[0]!).isFile;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  });
}
