import { getAffinity } from "../../ffi/affinity.ts";
import { isSysError } from "../../ffi/errno.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { ASSETS, locateInNpmCache, readAsset } from "../../lib/embed/onnx/assets.ts";
import { openOnDevice, surveyDevices } from "../../lib/embed/onnx/devices.ts";
import { embedFacts } from "../../lib/embed/onnx/doctor.ts";
import { cosine, measureDrift } from "../../lib/embed/onnx/drift.ts";
import { loadNative } from "../../lib/embed/onnx/native.ts";
import { addModel } from "../../lib/embed/model/add.ts";
import { openModel } from "../../lib/embed/model/open.ts";
import {
  assertEquals,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { CPU, modelScratch } from "./support.ts";

const HAS_NVIDIA = await Deno.stat("/dev/nvidiactl").then(() => true, () => false);

Deno.test("both engines are there, and the survey takes the native one", async () => {
  const { chosen, devices } = await surveyDevices("");
  assertEquals(chosen, HAS_NVIDIA ? chosen : "cpu");
  const usable = devices.filter((report) => report.usable).map(({ device }) => device);
  assertTrue(usable.includes("cpu") && usable.includes("wasm"), usable.join());
  for (const { device, why } of devices) {
    assertTrue(why !== "" && !why.includes("\n"), `${device}: ${why}`);
  }
  const [fact] = await embedFacts("");
  assertEquals([fact!.name, fact!.level], ["onnx", "ok"]);
});

Deno.test({
  name: "without a GPU cuda and tensorrt say why not, also when asked for",
  ignore: HAS_NVIDIA,
  async fn() {
    await using scratch = await modelScratch();
    const path = await scratch.write();
    await addModel(scratch.layout, "m", path, { devices: CPU });
    for (const device of ["cuda", "tensorrt"] as const) {
      const open = () => openModel(scratch.layout, "m", { device, library: "" });
      await assertRejects(open, InputError, new RegExp(`on ${device}: no NVIDIA GPU`));
    }
  },
});

Deno.test("a library that does not load leaves WebAssembly, and is named", async () => {
  await using folder = await tempFolder();
  const library = `${folder.path}/libonnxruntime.so`;
  await Deno.writeFile(library, new Uint8Array(4096), { mode: 0o644 });
  await using scratch = await modelScratch();
  await addModel(scratch.layout, "m", await scratch.write(), { devices: CPU });
  using embedder = await openModel(scratch.layout, "m", { device: "auto", library });
  assertEquals(embedder.session.device, "wasm");
  assertTrue(embedder.passedOver.some((why) => why.includes(library)));
  const cpu = () => openModel(scratch.layout, "m", { device: "cpu", library });
  const error = await assertRejects(cpu, OpError, /Cannot load ONNX Runtime/);
  assertTrue(!error.message.includes("\n"));
  const { chosen } = await surveyDevices(library);
  assertEquals(chosen, "wasm");
  const [fact] = await embedFacts(library);
  assertEquals(fact!.level, "warn");
});

/** Whether a thread may run on one CPU only; one that has just ended is on none. */
function isPlaced(threadId: number): boolean {
  try {
    return getAffinity(threadId).length === 1;
  } catch (error) {
    if (isSysError(error, "ESRCH")) return false;
    throw error;
  }
}

Deno.test("with a thread per CPU each keeps its own, and the vectors stay the same", async () => {
  const cpus = getAffinity();
  await using scratch = await modelScratch();
  using embedder = await scratch.open();
  const first = await embedder.embed(["some text", "and a longer other text"]);
  const placed = () =>
    [...Deno.readDirSync("/proc/self/task")].filter(({ name }) => isPlaced(Number(name)))
      .length;
  // The thread that calls is hired while runs go on; ONNX Runtime's own are there at once.
  while (cpus.length > 1 && placed() < cpus.length) await embedder.embed(["x"]);
  const again = await embedder.embed(["some text", "and a longer other text"]);
  assertEquals(again.matrix, first.matrix);
});

Deno.test("a damaged model is the model's fault: no other engine is tried", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/m.onnx`;
  await Deno.writeTextFile(path, "no model at all");
  const file = { path, externalFiles: [], output: "x", int32Inputs: false };
  const open = () => openOnDevice(file, { device: "auto", library: "" });
  const error = await assertRejects(open, OpError, /on cpu/);
  assertEquals(error.code, "model_unloadable");
});

Deno.test("a named library is taken from root and from us only", async () => {
  await using folder = await tempFolder();
  const library = `${folder.path}/libonnxruntime.so`;
  await Deno.copyFile(locateInNpmCache(ASSETS.native)!, library);
  await Deno.chmod(library, 0o666);
  await assertRejects(() => loadNative(library), InputError, /other users can write/);
  await assertRejects(() => loadNative("x.so"), InputError, /absolute/);
  await assertRejects(() => loadNative(folder.path), InputError, /not a file/);
  const sound = `${folder.path}/sound.so`;
  await Deno.copyFile(library, sound);
  await Deno.chmod(sound, 0o644);
  assertEquals((await loadNative(sound)).origin, sound);
  if (Deno.uid() !== 0) return;
  const foreign = `${folder.path}/foreign.so`;
  await Deno.copyFile(sound, foreign);
  await Deno.chown(foreign, 1000, 1000);
  await assertRejects(() => loadNative(foreign), InputError, /belongs to user 1000/);
});

Deno.test("a built-in binary that is not the one we know is refused", async () => {
  const wrong = "0".repeat(64);
  const changed = { ...ASSETS.wasm, sha256: { x86_64: wrong, aarch64: wrong } };
  await assertRejects(() => readAsset(changed), OpError, /its SHA-256 is/);
  const absent = { ...ASSETS.wasm, npmVersion: "0.0.0" };
  const error = await assertRejects(() => readAsset(absent), OpError, /Cannot find/);
  assertEquals(error.hint, "run: deno install");
});

Deno.test("drift is measured by hand-made vectors", () => {
  const a = new Float32Array([1, 0, 0, 1, 0.6, 0.8, 0, 0]);
  const b = new Float32Array([1, 0, 1, 0, 0.8, 0.6, 0, 0]);
  const report = measureDrift(a, b, 2);
  assertEquals(report.compared, 4);
  assertEquals(report.drifted.map(({ row }) => row), [1, 2]);
  assertEquals(report.lowestCosine, 0);
  assertTrue(Math.abs(report.drifted[1]!.cosine - 0.96) < 1e-6);
  assertEquals(report.largestDifference, 1);
  assertEquals(measureDrift(new Float32Array(), new Float32Array(), 3).meanCosine, 1);
  assertThrows(() => measureDrift(a, b.subarray(1), 2), RangeError);
  assertEquals(cosine(new Float32Array([0, 0]), new Float32Array([1, 0])), 0);
});
