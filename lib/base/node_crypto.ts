/**
 * node:crypto where it is called, not where it is imported: loading it takes 14 ms, which
 * a command that hashes a few hundred bytes and signs nothing need not pay.
 */
import type * as Crypto from "node:crypto";

/** The module, loaded by the first call. */
export function nodeCrypto(): typeof Crypto {
  // deno-lint-ignore no-process-global -- the module node:process takes 7 ms to load
  return process.getBuiltinModule("node:crypto");
}
