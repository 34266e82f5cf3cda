// @ts-nocheck: plain JavaScript, also for Node
/** onnxruntime-node by hand. */
import ort from "onnxruntime-node";
import { feeds, serve } from "./protocol.mjs";

let session;
await serve({
  async open({ file, threads }) {
    session = await ort.InferenceSession.create(file, { intraOpNumThreads: threads });
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
