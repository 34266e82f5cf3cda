/**
 * Builds lib/cache/kernel_wasm.ts from lib/cache/kernel.wat:
 * `deno run -A scripts/lib/build_kernel.ts`.
 */
import wabtInit from "wabt";

const SOURCE = new URL("../../lib/cache/kernel.wat", import.meta.url);
const TARGET = new URL("../../lib/cache/kernel_wasm.ts", import.meta.url);

/** The module's bytes. */
export async function buildKernel(): Promise<Uint8Array> {
  const wabt = await wabtInit();
  const text = await Deno.readTextFile(SOURCE);
  const module = wabt.parseWat("kernel.wat", text, { simd: true });
  module.validate();
  return module.toBinary({}).buffer;
}

/** What kernel_wasm.ts says. */
export function kernelSource(wasm: Uint8Array): string {
  const lines = wasm.toBase64().match(/.{1,84}/g)!.map((line) => `  "${line}",`);
  return `/** Built from kernel.wat by scripts/lib/build_kernel.ts; not to be edited. */
export const KERNEL_BASE64 = [
${lines.join("\n")}
].join("");
`;
}

if (import.meta.main) await Deno.writeTextFile(TARGET, kernelSource(await buildKernel()));
