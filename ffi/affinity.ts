/** CPU affinity: sched_setaffinity, sched_getaffinity, sched_getcpu. */
import { check, errno, sys } from "./libc.ts";

/** Bytes of a CPU mask: 8192 CPUs, the kernel's largest NR_CPUS. */
const MASK_BYTES = 1024;

/**
 * sched_setaffinity(2).
 *
 * @param cpus CPU numbers, at least one
 * @param threadId 0 for the calling thread, else a kernel thread id
 */
export function setAffinity(cpus: readonly number[], threadId = 0): void {
  const mask = cpuMask(cpus);
  check(
    sys.sched_setaffinity(threadId, BigInt(MASK_BYTES), mask),
    errno[0],
    "sched_setaffinity",
  );
}

/** CPUs as a cpu_set_t. @throws {RangeError} for a number that no kernel has */
export function cpuMask(cpus: readonly number[]): Uint8Array<ArrayBuffer> {
  const mask = new Uint8Array(MASK_BYTES);
  for (const cpu of cpus) {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= MASK_BYTES * 8) {
      throw new RangeError(`CPU ${cpu} is not in 0..${MASK_BYTES * 8 - 1}`);
    }
    mask[cpu >> 3]! |= 1 << (cpu & 7);
  }
  return mask;
}

/** sched_getaffinity(2): the CPUs that a thread may run on, ascending. */
export function getAffinity(threadId = 0): number[] {
  const mask = new Uint8Array(MASK_BYTES);
  check(
    sys.sched_getaffinity(threadId, BigInt(MASK_BYTES), mask),
    errno[0],
    "sched_getaffinity",
  );
  const cpus: number[] = [];
  for (let cpu = 0; cpu < MASK_BYTES * 8; cpu++) {
    if (mask[cpu >> 3]! & (1 << (cpu & 7))) cpus.push(cpu);
  }
  return cpus;
}

/** sched_getcpu(3): the CPU that the calling thread is on now. */
export function currentCpu(): number {
  return check(sys.sched_getcpu(), errno[0], "sched_getcpu");
}
