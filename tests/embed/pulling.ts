/** A hub with one model, for the tests of pulling it. */
import type { PullOptions } from "../../lib/embed/model/pull.ts";
import { listModels } from "../../lib/embed/model/store.ts";
import { assertEquals } from "../support/assert.ts";
import {
  type FakeHub,
  type HubReply,
  type HubRequest,
  ranged,
  startHub,
} from "./fake_hub.ts";
import { CPU, type ModelScratch, modelScratch } from "./support.ts";

/** What the hub calls its model. */
export const REPOSITORY = "owner/Tiny-Model";
export const MB = 1024 * 1024;

/** Files of a model folder by their path, as a hub serves them. */
export async function filesOf(folder: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  const visit = async (under: string) => {
    for await (const entry of Deno.readDir(`${folder}/${under}`)) {
      const path = under + entry.name;
      if (entry.isDirectory) await visit(`${path}/`);
      else files.set(path, await Deno.readFile(`${folder}/${path}`));
    }
  };
  await visit("");
  return files;
}

/** Gives another answer; null is 404, undefined the honest one. */
export type Misbehave = (
  file: string,
  request: HubRequest,
  honest: HubReply,
) => HubReply | null | undefined;

/** A hub with one model; `misbehave` may replace an answer. */
export function hubOf(
  files: ReadonlyMap<string, Uint8Array>,
  misbehave?: Misbehave,
): FakeHub {
  return startHub((request) => {
    const prefix = `/${REPOSITORY}/resolve/main/`;
    const file = request.path.slice(prefix.length);
    const body = request.path.startsWith(prefix) ? files.get(file) : undefined;
    const honest = body ? ranged(request, body, `"tag-${file}"`) : null;
    const other = misbehave?.(file, request, honest ?? { status: 404 });
    return other === undefined ? honest : other;
  });
}

/** What a test pulls with: it waits for nothing. */
export function options(hub: FakeHub, more: Partial<PullOptions> = {}): PullOptions {
  return {
    hub: { url: hub.url, hosts: [], token: "" },
    devices: CPU,
    maxBytes: 8 * MB,
    sleep: () => Promise.resolve(),
    ...more,
  };
}

/** A root, and the files of a model to serve. */
export async function setUp(): Promise<
  { scratch: ModelScratch; files: Map<string, Uint8Array> } & AsyncDisposable
> {
  const scratch = await modelScratch();
  const files = await filesOf(await scratch.write());
  return {
    scratch,
    files,
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
}

/** Nothing is kept but what a later pull may go on with. */
export function assertNothingKept(scratch: ModelScratch): void {
  assertEquals(listModels(scratch.layout), []);
}
