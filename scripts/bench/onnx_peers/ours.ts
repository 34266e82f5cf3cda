/** op-dbus itself behind the peers' protocol: the library as the commands use it. */
import { Layout } from "../../../lib/base/layout.ts";
import { openModel } from "../../../lib/embed/model/open.ts";
import type { DeviceChoice } from "../../../lib/embed/onnx/engine.ts";
import type { OnnxEmbedder } from "../../../lib/embed/onnx/onnx_embedder.ts";
import { feeds, serve } from "./protocol.mjs";

let embedder: OnnxEmbedder;
await serve({
  async open(request: {
    root: string;
    name: string;
    device: DeviceChoice;
    threads: number;
  }) {
    const { root, name, device, threads } = request;
    embedder = await openModel(new Layout(root), name, { device, threads, library: "" });
  },
  async run({ rows, columns }: { rows: number; columns: number }) {
    const inputs = new Map(Object.entries(feeds(rows, columns)));
    using output = await embedder.session.run({ rows, columns, inputs });
    return output.data[0];
  },
  async embed({ texts }: { texts: string[] }) {
    const { matrix } = await embedder.embed(texts);
    return [...matrix.subarray(0, embedder.identity.dimensions)];
  },
});
