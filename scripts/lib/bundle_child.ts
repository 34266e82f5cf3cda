/** One of the benches' children as a bundle, as the product is one. */

/** Bundles scripts/bench/children/NAME into a folder; the path of the bundle. */
export async function bundle(name: string, folder: string): Promise<string> {
  const source = new URL(`../bench/children/${name}`, import.meta.url).pathname;
  const target = `${folder}/${name}.mjs`;
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--minify", "-o", target, source],
  }).output();
  if (!success) throw new Error(`deno bundle: ${new TextDecoder().decode(stderr)}`);
  return target;
}
