/** Killing a child at its system calls, by strace: what the kill sweeps share. */
import { assertEquals } from "../support/assert.ts";
import { canMountBtrfs } from "../support/scratch.ts";

/** `1`: every point; `3/8`: every eighth, from the third: a long sweep in parts. */
const FULL = /^(\d+)(?:\/(\d+))?$/.exec(Deno.env.get("OPDBUS_TEST_FULL") ?? "");
/** How many of the kill points a normal run takes, about. */
const POINTS = 10;
/** The calls that change a file system, or decide what is changed. */
const CALLS = "ioctl,rename,renameat2,unlinkat,mkdirat,fsync,fdatasync,syncfs,write," +
  "pwrite64,ftruncate,flock,fchmod,fchownat,utimensat,fsetxattr,linkat,symlinkat,openat2";
const CHILD = new URL("./snapshot_child.ts", import.meta.url).pathname;

function hasStrace(): boolean {
  try {
    return new Deno.Command("strace", { args: ["-V"], stdout: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

export function crashTest(
  name: string,
  fn: () => Promise<void>,
  needs: () => boolean = () => true,
): void {
  Deno.test({ name, fn, ignore: !canMountBtrfs() || !hasStrace() || !needs() });
}

async function child(strace: readonly string[], args: readonly string[]) {
  const command = [...strace, Deno.execPath(), "run", "-A", "--no-check", CHILD, ...args];
  const { signal, code, stderr } = await new Deno.Command(command[0]!, {
    args: command.slice(1),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  return { killed: signal === "SIGKILL" || code === 137, code, stderr };
}

/** The n-th call of one kind that a thread makes. */
export interface Point {
  readonly call: string;
  readonly n: number;
}

/** Options of strace that kill at a point. */
export function killOptions({ call, n }: Point): string[] {
  const inject = `inject=${call}:signal=SIGKILL:when=${n}`;
  return ["-f", "-qq", "-o", "/dev/null", "-e", `trace=${call}`, "-e", inject];
}

/** Options of strace that log each thread's calls into `LOG.PID`. */
export function logOptions(log: string): string[] {
  return ["-ff", "-qq", "-o", log, "-e", `trace=${CALLS}`];
}

/**
 * Runs it, killed at a point.
 *
 * @param mayFail a process beside it may be the one that is killed (ssh)
 * @returns whether it was killed
 */
export async function killedAt(
  point: Point,
  args: readonly string[],
  mayFail = false,
): Promise<boolean> {
  const { killed, code, stderr } = await child(["strace", ...killOptions(point)], args);
  if (!killed && code !== 0 && !mayFail) {
    throw new Error(new TextDecoder().decode(stderr));
  }
  return killed;
}

/** Runs it, whatever comes of it. */
export async function runs(args: readonly string[]): Promise<void> {
  await child([], args);
}

export async function finishes(args: readonly string[]): Promise<void> {
  const { code, stderr } = await child([], args);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
}

/** Every point of a whole run, by what its busiest thread does. */
export async function pointsOf(
  args: readonly string[],
  scratch: string,
  about = POINTS,
): Promise<Point[]> {
  await child(["strace", ...logOptions(`${scratch}/strace`)], args);
  return await pointsLogged(scratch, about);
}

/**
 * The points that `strace.*` files of a folder tell of; removes them.
 *
 * @param about how many to take, where not all are taken
 */
export async function pointsLogged(scratch: string, about = POINTS): Promise<Point[]> {
  const most = new Map<string, number>();
  for await (const { name } of Deno.readDir(scratch)) {
    if (!name.startsWith("strace.")) continue;
    const text = await Deno.readTextFile(`${scratch}/${name}`);
    await Deno.remove(`${scratch}/${name}`);
    const calls = text.split("\n").map((line) => line.split("(")[0]!).filter(Boolean);
    for (const [call, all] of Object.entries(Object.groupBy(calls, (call) => call))) {
      most.set(call, Math.max(most.get(call) ?? 0, all!.length));
    }
  }
  const points = [...most].sort().flatMap(([call, count]) =>
    Array.from({ length: count }, (_, i): Point => ({ call, n: i + 1 }))
  );
  const step = FULL
    ? Number(FULL[2] ?? 1)
    : Math.max(1, Math.floor(points.length / about));
  const first = FULL ? Number(FULL[1]) - 1 : 0;
  return points.filter((_, i) => i % step === first);
}

/** Names under the root and a folder that only a running op-dbus may have there. */
export async function leftovers(...folders: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const folder of folders) {
    for await (const { name } of Deno.readDir(folder)) {
      if (/^\.(tmp-|op-dbus-receive-)/.test(name)) found.push(`${folder}/${name}`);
    }
  }
  return found;
}
