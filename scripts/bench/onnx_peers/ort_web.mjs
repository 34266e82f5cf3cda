// @ts-nocheck: plain JavaScript, also for Node
/** onnxruntime-web by hand, one thread, as its documentation shows it. */
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";
import { feeds, serve } from "./protocol.mjs";

let session;
await serve({
  async open({ file }) {
    ort.env.wasm.numThreads = 1;
    session = await ort.InferenceSession.create(readFileSync(file));
  },
  async run({ rows, columns }) {
    const inputs = {};
    for (const [name, data] of Object.entries(feeds(rows, columns))) {
      inputs[name] = new ort.Tensor("int64", data, [rows, columns]);
    }
    const { last_hidden_state } = await session.run(inputs);
    return last_hidden_state.data[0];
  },
});
