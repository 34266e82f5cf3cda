/**
 * Builds lib/cache/kernel_wasm.ts from lib/cache/kernel.wat, and lib/cache/sha256_wasm.ts
 * from scripts/lib/sha256_wat.ts: `deno run -A scripts/lib/build_kernel.ts`.
 */
import wabtInit from "wabt";
import { sha256Wat } from "./sha256_wat.ts";

const FOLDER = new URL("../../lib/cache/", import.meta.url);

async function assemble(name: string, text: string): Promise<Uint8Array> {
  const wabt = await wabtInit();
  const module = wabt.parseWat(name, text, { simd: true });
  module.validate();
  return module.toBinary({}).buffer;
}

/** The bytes of the vector kernels. */
export async function buildKernel(): Promise<Uint8Array> {
  return assemble("kernel.wat", await Deno.readTextFile(new URL("kernel.wat", FOLDER)));
}

/** The bytes of SHA-256. */
export function buildSha256(): Promise<Uint8Array> {
  return assemble("sha256.wat", sha256Wat());
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
  const write = (name: string, text: string) =>
    Deno.writeTextFile(new URL(name, FOLDER), text);
  await write(
    "kernel_wasm.ts",
    source(await buildKernel(), "KERNEL_BASE64", "kernel.wat"),
  );
  await write(
    "sha256_wasm.ts",
    source(await buildSha256(), "SHA256_BASE64", "scripts/lib/sha256_wat.ts"),
  );
}
