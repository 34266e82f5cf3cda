/**
 * Builds the modules of WebAssembly: lib/cache/kernel_wasm.ts from lib/cache/kernel.wat,
 * lib/cache/sha256_wasm.ts from scripts/lib/sha256_wat.ts, lib/stream/crc32c_wasm.ts from
 * scripts/lib/crc32c_wat.ts: `deno run -A scripts/lib/build_kernel.ts`.
 */
import wabtInit from "wabt";
import { crc32cWat } from "./crc32c_wat.ts";
import { sha256Wat } from "./sha256_wat.ts";

const LIB = new URL("../../lib/", import.meta.url);

async function assemble(name: string, text: string): Promise<Uint8Array> {
  const wabt = await wabtInit();
  const module = wabt.parseWat(name, text, { simd: true, relaxed_simd: true });
  module.validate();
  return module.toBinary({}).buffer;
}

/** The bytes of the vector kernels. */
export async function buildKernel(): Promise<Uint8Array> {
  return assemble(
    "kernel.wat",
    await Deno.readTextFile(new URL("cache/kernel.wat", LIB)),
  );
}

/** The bytes of SHA-256. */
export function buildSha256(): Promise<Uint8Array> {
  return assemble("sha256.wat", sha256Wat());
}

/** The bytes of CRC-32C. */
export function buildCrc32c(): Promise<Uint8Array> {
  return assemble("crc32c.wat", crc32cWat());
}

/** What the file of a module says. @param from what it is built from */
function source(wasm: Uint8Array, constant: string, from: string): string {
  const lines = wasm.toBase64().match(/.{1,84}/g)!.map((line) => `  "${line}",`);
  return `/** Built from ${from} by scripts/lib/build_kernel.ts; not to be edited. */
export const ${constant} = [
${lines.join("\n")}
].join("");
`;
}

if (import.meta.main) {
  const write = (name: string, wasm: Uint8Array, constant: string, from: string) =>
    Deno.writeTextFile(new URL(name, LIB), source(wasm, constant, from));
  const here = "scripts/lib/";
  await write("cache/kernel_wasm.ts", await buildKernel(), "KERNEL_BASE64", "kernel.wat");
  await write(
    "cache/sha256_wasm.ts",
    await buildSha256(),
    "SHA256_BASE64",
    `${here}sha256_wat.ts`,
  );
  await write(
    "stream/crc32c_wasm.ts",
    await buildCrc32c(),
    "CRC32C_BASE64",
    `${here}crc32c_wat.ts`,
  );
}
