/** ONNX files made by hand, each with one thing wrong. */
import { InputError } from "../../lib/base/errors.ts";
import { addModel, type AddOptions } from "../../lib/embed/model/add.ts";
import { readTokenizer } from "../../lib/embed/model/folder.ts";
import { readOnnxFile } from "../../lib/embed/model/onnx_file.ts";
import { openModel } from "../../lib/embed/model/open.ts";
import { listModels } from "../../lib/embed/model/store.ts";
import { FLOAT, Graph, INT32, INT64 } from "../../scripts/models/onnx.ts";
import { Message } from "../../scripts/models/protobuf.ts";
import {
  assertEquals,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { CPU, modelScratch } from "./support.ts";

const AXES = ["batch", "sequence"];

/** A model that gives its ids back as numbers. */
function echo(
  inputs: readonly (readonly [string, number])[],
  make: (graph: Graph, numbers: string) => void,
): Uint8Array {
  const graph = new Graph();
  for (const [name, type] of inputs) graph.input(name, type, AXES);
  make(graph, graph.node("Cast", [inputs[0]![0]], { to: FLOAT }));
  return graph.write().model;
}
const IDS = [["input_ids", INT64]] as const;
const plain = (graph: Graph, numbers: string) => graph.output(numbers, FLOAT, AXES);

/** What is wrong with a model, with what the message says. */
const ODD: readonly (readonly [string, Uint8Array, Partial<AddOptions>, RegExp])[] = [
  ["no input_ids", echo([["ids", INT64]], plain), {}, /no input input_ids, but ids$/],
  ["numbers for ids", echo([["input_ids", FLOAT]], plain), {}, /element types 1$/],
  [
    "inputs of two types",
    echo([...IDS, ["attention_mask", INT32]], plain),
    {},
    /element types 7, 6$/,
  ],
  [
    "integers that come out",
    echo(
      IDS,
      (graph) => graph.output(graph.node("Identity", ["input_ids"]), INT64, AXES),
    ),
    {},
    /has the element type 7$/,
  ],
  ["another output", echo(IDS, plain), { output: "nope" }, /no output nope, but cast_1$/],
  [
    "four axes that it does not tell of",
    echo(IDS, (graph, numbers) => {
      const axes = graph.int64([0, 1]);
      graph.output(graph.node("Unsqueeze", [numbers, axes]), FLOAT, null);
    }),
    {},
    /its output has the shape 1 x 1 x 1 x 3$/,
  ],
  [
    "as many dimensions as the text has tokens",
    echo(IDS, plain),
    {},
    /its output has the shape 1 x \d+, expected 1 x 3$/,
  ],
];
for (const [name, model, options, pattern] of ODD) {
  Deno.test(`a model with ${name} is refused`, async () => {
    await using scratch = await modelScratch();
    const path = await scratch.write({ withoutPooling: true });
    await Deno.writeFile(`${path}/onnx/model.onnx`, model);
    const add = () => addModel(scratch.layout, "m", path, { devices: CPU, ...options });
    const error = await assertRejects(add, InputError, pattern);
    assertTrue(error.message.startsWith(`Cannot use the model ${path}: `), error.message);
    assertEquals(listModels(scratch.layout), []);
  });
}

Deno.test("states of tokens need a pooling", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write();
  const add = () =>
    addModel(scratch.layout, "m", path, { devices: CPU, pooling: "none" });
  await assertRejects(add, InputError, /a state per token, and pooling is none$/);
});

Deno.test("a limit of more tokens than the model has positions is refused", async () => {
  await using scratch = await modelScratch();
  const path = await scratch.write();
  const add = (maxTokens: number) => () =>
    addModel(scratch.layout, "m", path, { devices: CPU, maxTokens });
  const error = await assertRejects(add(129), InputError, /129 tokens: it has 128 pos/);
  assertEquals(error.hint, "choose --max-tokens 128 or less");
  assertEquals((await add(128)()).max_tokens, 128);
  using embedder = await openModel(scratch.layout, "m", CPU);
  assertEquals((await embedder.embed(["word ".repeat(500)])).tokens, 128);
});

const graphOf = (...fields: readonly (readonly [number, Message])[]) => {
  const graph = new Message();
  for (const [number, field] of fields) graph.message(number, field);
  return graph;
};
const named = (name: string) => new Message().text(1, name);
const OUTPUT = [12, named("y")] as const;
const outside = (file: string | null) => {
  const tensor = new Message().int(2, FLOAT).text(8, "w").int(14, 1);
  if (file === null) return tensor;
  return tensor.message(13, new Message().text(1, "location").text(2, file));
};
const many = (count: number, make: (at: number) => Message, number: number) =>
  Array.from({ length: count }, (_, at) => [number, make(at)] as const);

const constant = (file: string) => {
  const value = new Message().text(1, "value").message(5, outside(file)).int(20, 4);
  return new Message().text(4, "Constant").message(5, value);
};
const branch = (graph: Message) =>
  new Message().text(4, "If").message(5, new Message().text(1, "b").message(6, graph));

Deno.test("files of weights are found wherever the model names them", async () => {
  await using folder = await tempFolder();
  const file = `${folder.path}/m.onnx`;
  const inner = graphOf([1, constant("in_branch")], [5, outside("branch_weights")]);
  const graph = graphOf(OUTPUT, [5, outside("w")], [1, constant("c")], [
    1,
    branch(inner),
  ]);
  const model = graphOf([7, graph], [25, graphOf([7, constant("in_function")])]);
  await Deno.writeFile(file, model.write());
  const { externalFiles, operators } = readOnnxFile(file);
  const names = ["branch_weights", "c", "in_branch", "in_function", "w"];
  assertEquals([...externalFiles].sort(), names);
  assertEquals([...operators].sort(), ["Constant", "If"]);
  let deep = graphOf([1, constant("w")]);
  for (let depth = 0; depth < 25; depth++) deep = graphOf([1, branch(deep)]);
  await Deno.writeFile(file, graphOf([7, graphOf(OUTPUT, [1, branch(deep)])]).write());
  assertThrows(() => readOnnxFile(file), InputError, /nested too deeply/);
});

/** Structures that no encoder has, with what the message says. */
const BROKEN: readonly (readonly [string, Message, RegExp])[] = [
  ["no graph", new Message().int(1, 8), /0 graphs/],
  ["two graphs", graphOf([7, graphOf(OUTPUT)], [7, graphOf(OUTPUT)]), /2 graphs/],
  ["no output", graphOf([7, graphOf([11, named("x")])]), /no output/],
  [
    "over a thousand inputs",
    graphOf([7, graphOf(OUTPUT, ...many(1000, (at) => named(`x${at}`), 11))]),
    /over 1000 inputs/,
  ],
  [
    "over a thousand files of weights",
    graphOf([7, graphOf(OUTPUT, ...many(1001, (at) => outside(`w${at}`), 5))]),
    /over 1000 files/,
  ],
  [
    "weights somewhere",
    graphOf([7, graphOf(OUTPUT, [5, outside(null)])]),
    /without a location/,
  ],
  ["a long name", graphOf([7, graphOf([12, named("y".repeat(4097))])]), /4097 bytes/],
  [
    "a name that goes on behind its message",
    graphOf([7, new Message().raw(new Uint8Array([0x62, 4, 0x0a, 100, 65, 65]))]),
    /ends at byte \d+ of \d+/,
  ],
];
for (const [name, model, pattern] of BROKEN) {
  Deno.test(`an ONNX file with ${name} is refused`, async () => {
    await using folder = await tempFolder();
    const file = `${folder.path}/m.onnx`;
    // Enough bytes behind it for a length that is wrong to lead somewhere.
    await Deno.writeFile(
      file,
      new Message().raw(model.write()).text(2, "x".repeat(200)).write(),
    );
    const error = assertThrows(() => readOnnxFile(file), InputError, pattern);
    assertTrue(error.message.startsWith(`Cannot read the model ${file}: `));
  });
}

Deno.test("a tokenizer of over 128 MB is not read", async () => {
  await using folder = await tempFolder();
  const file = `${folder.path}/tokenizer.json`;
  await Deno.writeTextFile(file, "{}");
  assertEquals(readTokenizer(file), "{}");
  await Deno.truncate(file, 128 * 1024 * 1024 + 1);
  assertThrows(() => readTokenizer(file), InputError, /over 134217728 bytes/);
});
