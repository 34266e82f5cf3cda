/** Who makes a change: the account that logged in and the one that op-dbus runs as. */
import { isSysError } from "../../ffi/errno.ts";
import { effectiveUid } from "../../ffi/files.ts";
import { readTextFile } from "../../ffi/directory.ts";

/** `loginuid` of a process that no login started, such as a service. */
const NO_LOGIN = 0xffff_ffff;

/**
 * The acting user: `root`, `alice as root`, `uid 1234`.
 *
 * The login account is the kernel's (`/proc/self/loginuid`), which survives su and sudo
 * and which only a privileged process can set; `SUDO_USER` can be set by anybody and is
 * not asked.
 */
export function actingUser(): string {
  const names = accountNames();
  const nameOf = (uid: number) => names.get(uid) ?? `uid ${uid}`;
  const effective = effectiveUid();
  const login = loginUid();
  if (login === null || login === effective) return nameOf(effective);
  return `${nameOf(login)} as ${nameOf(effective)}`;
}

function loginUid(): number | null {
  try {
    const uid = Number(readTextFile("/proc/self/loginuid").trim());
    return uid === NO_LOGIN || !Number.isSafeInteger(uid) ? null : uid;
  } catch (error) {
    if (isSysError(error)) return null; // a kernel without auditing has no such file
    throw error;
  }
}

function accountNames(): Map<number, string> {
  let text: string;
  try {
    text = readTextFile("/etc/passwd");
  } catch (error) {
    if (isSysError(error)) return new Map(); // then numbers must do
    throw error;
  }
  const names = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [name, , uid] = line.split(":");
    if (name && uid && !names.has(Number(uid))) names.set(Number(uid), name);
  }
  return names;
}
