// @ts-nocheck: plain JavaScript, also for Node
/**
 * @huggingface/transformers behind the HTTP shape of OpenAI's embeddings, as one would
 * write it in an afternoon: no cache.
 *
 *     transformers_http.mjs SOCKET FOLDER MODEL THREADS
 */
import http from "node:http";
import process from "node:process";
import { Buffer } from "node:buffer";

const { env, pipeline } = await import(["@huggingface", "transformers"].join("/"));
const [socket, folder, name, threads] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = folder;
const extract = await pipeline("feature-extraction", name, {
  dtype: "fp32",
  device: "cpu",
  session_options: { intraOpNumThreads: Number(threads) },
});

async function answer(body) {
  const { input, encoding_format } = JSON.parse(body);
  const texts = Array.isArray(input) ? input : [input];
  const { data, dims } = await extract(texts, { pooling: "mean", normalize: true });
  const rows = texts.map((_, index) => {
    const row = data.slice(index * dims[1], (index + 1) * dims[1]);
    const embedding = encoding_format === "base64"
      ? Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString("base64")
      : [...row];
    return { object: "embedding", index, embedding };
  });
  return JSON.stringify({ object: "list", data: rows, model: name });
}

http.createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (piece) => body += piece);
  request.on("end", async () => {
    const text = await answer(body);
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
    });
    response.end(text);
  });
}).listen(socket, () => console.log("ready"));
