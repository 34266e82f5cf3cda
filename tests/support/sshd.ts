/** A real sshd on a port of its own, with keys of its own; gone when the test ends. */
import { sh, tempFolder } from "./scratch.ts";

const SSHD = "/usr/sbin/sshd";

/** True where an sshd is installed and may be started. */
export function hasSshd(): boolean {
  try {
    return Deno.statSync(SSHD).isFile && Deno.uid() === 0;
  } catch {
    return false;
  }
}

/** A server that lets this user in by key. */
export interface TestSshd extends AsyncDisposable {
  /** `ssh://root@127.0.0.1:PORT` */
  readonly url: string;
  /** An ssh_config(5) with the key and the host's key. */
  readonly config: string;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Starts it and waits until it answers. */
export async function testSshd(): Promise<TestSshd> {
  const folder = await tempFolder("op-dbus-sshd-"),
    at = (name: string) => `${folder.path}/${name}`;
  const port = freePort();
  for (const key of ["host", "user"]) {
    await sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at(key));
  }
  await Deno.copyFile(at("user.pub"), at("authorized"));
  await Deno.mkdir("/run/sshd", { recursive: true });
  await Deno.writeTextFile(
    at("sshd_config"),
    `Port ${port}\nListenAddress 127.0.0.1\nHostKey ${at("host")}\nPidFile none\n` +
      `AuthorizedKeysFile ${at("authorized")}\nStrictModes no\nUsePAM no\n` +
      `PasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n`,
  );
  await Deno.writeTextFile(
    at("ssh_config"),
    `Host *\n  IdentityFile ${at("user")}\n  IdentitiesOnly yes\n` +
      `  UserKnownHostsFile ${at("known")}\n  StrictHostKeyChecking accept-new\n` +
      `  LogLevel ERROR\n`,
  );
  const server = new Deno.Command(SSHD, {
    args: ["-D", "-e", "-f", at("sshd_config")],
    stdout: "null",
    stderr: "null",
  }).spawn();
  await answering(port);
  return {
    url: `ssh://root@127.0.0.1:${port}`,
    config: at("ssh_config"),
    async [Symbol.asyncDispose]() {
      server.kill("SIGTERM");
      await server.status;
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function answering(port: number): Promise<void> {
  for (let tries = 0;; tries++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused) || tries > 400) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}
