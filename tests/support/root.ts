/** A laid-out root on a fresh btrfs, for tests. */
import { type Config, resolveConfig } from "../../lib/base/config.ts";
import { Layout } from "../../lib/base/layout.ts";
import { initRoot } from "../../lib/base/root.ts";
import { findTarget, type Target } from "../../lib/snapshot/target.ts";
import { btrfsScratch } from "./scratch.ts";

/** A root with its config, gone when the test ends. */
export interface TestRoot extends AsyncDisposable {
  /** Where the file system is mounted. */
  readonly mount: string;
  readonly layout: Layout;
  readonly config: Config;
  target(name: string): Target;
}

/** @param toml config file's text; @param sizeMb size of the file system */
export async function testRoot(toml = "", sizeMb = 256): Promise<TestRoot> {
  const fs = await btrfsScratch(sizeMb);
  const layout = new Layout(`${fs.path}/root`);
  initRoot({ root: layout.root });
  const text = toml.replaceAll("MOUNT", fs.path);
  const config = resolveConfig({ file: { path: "/c.toml", text } });
  return {
    mount: fs.path,
    layout,
    config,
    target: (name) => findTarget(layout, config, name),
    [Symbol.asyncDispose]: () => fs[Symbol.asyncDispose](),
  };
}
