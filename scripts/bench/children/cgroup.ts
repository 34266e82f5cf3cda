/** A memory-limited cgroup for one command, version 2 or 1, whichever is mounted. */

/** A cgroup that is gone when the bench ends. */
export interface MemoryCgroup extends AsyncDisposable {
  /** Runs a command inside it; returns its standard output. */
  run(...command: string[]): Promise<string>;
}

/**
 * Makes a cgroup.
 *
 * @param limitBytes memory of everything in it, page cache included
 * @throws {Error} where cgroups cannot be made (not root, no memory controller)
 */
export async function memoryCgroup(limitBytes: number): Promise<MemoryCgroup> {
  const name = `op-dbus-bench-${crypto.randomUUID().slice(0, 8)}`;
  const two = "/sys/fs/cgroup/cgroup.controllers";
  const controllers = await Deno.readTextFile(two).catch(() => "");
  const [folder, file] = controllers.includes("memory")
    ? [`/sys/fs/cgroup/${name}`, "memory.max"]
    : [`/sys/fs/cgroup/memory/${name}`, "memory.limit_in_bytes"];
  await Deno.mkdir(folder);
  await Deno.writeTextFile(`${folder}/${file}`, String(limitBytes));
  return {
    async run(...command) {
      const script = `echo $$ > ${folder}/cgroup.procs && exec "$@"`;
      const { stdout, stderr, success, signal } = await new Deno.Command("sh", {
        args: ["-c", script, "sh", ...command],
      }).output();
      const text = new TextDecoder();
      if (!success) throw new Error(`${signal ?? "failed"}: ${text.decode(stderr)}`);
      return text.decode(stdout);
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder),
  };
}
