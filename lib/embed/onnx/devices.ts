/** Which engine and device a model runs on, and why not on a faster one. */
import { getAffinity } from "../../../ffi/affinity.ts";
import { isSysError } from "../../../ffi/errno.ts";
import { AT_FDCWD } from "../../../ffi/files.ts";
import { statAt } from "../../../ffi/stat.ts";
import { InputError, OpError } from "../../base/errors.ts";
import type { Device, DeviceChoice, EngineSession, ModelFile } from "./engine.ts";
import { loadNative, type NativeRuntime, openNative } from "./native.ts";

/** What one device is good for on this machine. */
export interface DeviceReport {
  readonly device: Device;
  readonly usable: boolean;
  /** What it is, or why it cannot be used, one line. */
  readonly why: string;
}

/** All devices, and the one that `auto` takes. */
export interface DeviceSurvey {
  readonly chosen: Device | null;
  readonly devices: readonly DeviceReport[];
}

/** How to open a model. */
export interface DeviceOptions {
  readonly device: DeviceChoice;
  /** libonnxruntime.so to load in place of the built-in one; empty for none. */
  readonly library: string;
  /** CPU threads; default one per CPU that this process may run on. */
  readonly threads?: number;
  /** Texts per run at most. */
  readonly batchTexts?: number;
  /** See {@link nativeLibrary}. */
  readonly stampFolder?: string;
}

const PROVIDER_LIBRARIES = {
  cuda: "libonnxruntime_providers_cuda.so",
  tensorrt: "libonnxruntime_providers_tensorrt.so",
} as const;
const SHARED_LIBRARY = "libonnxruntime_providers_shared.so";
/** The driver's control device: there on every machine with a working NVIDIA driver. */
const NVIDIA_DEVICE = "/dev/nvidiactl";

/**
 * Opens a model on the device asked for; with `auto` on the best that works.
 *
 * @returns the session, and one line per better device that was passed over
 * @throws {OpError} when the device asked for, or with `auto` every device, fails
 */
export async function openOnDevice(
  model: ModelFile,
  options: DeviceOptions,
): Promise<{ session: EngineSession; passedOver: readonly string[] }> {
  const threads = options.threads ?? getAffinity().length;
  const passedOver: string[] = [];
  if (options.device !== "auto") {
    const session = await openOne(options.device, model, options, threads);
    return { session, passedOver };
  }
  for (const device of ["cuda", "cpu"] as const) {
    const why = device === "cuda" ? nvidiaObstacle("cuda", options.library) : null;
    if (why === null) {
      try {
        const session = await openOne(device, model, options, threads);
        return { session, passedOver };
      } catch (error) {
        if (!(error instanceof OpError)) throw error;
        // The CPU reads what any engine reads: a model it refuses is damaged.
        if (device === "cpu" && error.code === "model_unloadable") throw error;
        passedOver.push(`${device}: ${error.message}`);
      }
    } else passedOver.push(`${device}: ${why}`);
  }
  const session = await openOne("wasm", model, options, threads);
  return { session, passedOver };
}

async function openOne(
  device: Device,
  model: ModelFile,
  { library, stampFolder }: DeviceOptions,
  threads: number,
): Promise<EngineSession> {
  if (device === "wasm") {
    const { openPortable } = await import("./portable.ts");
    return await openPortable(model);
  }
  const obstacle = device === "cpu" ? null : await obstacleOf(device, library);
  if (obstacle !== null) {
    throw new InputError("no_device", `Cannot run models on ${device}: ${obstacle}`, {
      hint: "op-dbus doctor lists the devices; --device auto takes the best that works",
    });
  }
  return await openNative(await loadNative(library, stampFolder), device, model, {
    threads,
  });
}

/** Why a device cannot be used; null where nothing stands in its way that we can see. */
function obstacleOf(device: Device, library: string): Promise<string | null> {
  if (device === "webgpu") return webGpuObstacle();
  if (device === "cuda" || device === "tensorrt") {
    return Promise.resolve(nvidiaObstacle(device, library));
  }
  return Promise.resolve(null);
}

function nvidiaObstacle(device: "cuda" | "tensorrt", library: string): string | null {
  if (!exists(NVIDIA_DEVICE)) return `no NVIDIA GPU here (${NVIDIA_DEVICE} is missing)`;
  if (library === "") {
    return "the built-in library runs on the CPU; name one with GPU support " +
      "(embed.onnxruntime)";
  }
  const folder = library.slice(0, library.lastIndexOf("/"));
  const missing = [SHARED_LIBRARY, PROVIDER_LIBRARIES[device]].filter((name) =>
    !exists(`${folder}/${name}`)
  );
  return missing.length > 0 ? `${folder} lacks ${missing.join(" and ")}` : null;
}

/** As much of WebGPU's adapter as says whether it is real. */
interface Adapter {
  readonly info: { readonly isFallbackAdapter?: boolean; readonly description: string };
}

async function webGpuObstacle(): Promise<string | null> {
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } }).gpu;
  if (!gpu) return "this Deno has no WebGPU";
  const adapter = await gpu.requestAdapter();
  if (!adapter) return "no graphics adapter";
  const { isFallbackAdapter, description } = adapter.info;
  return isFallbackAdapter ? `only a software adapter (${description})` : null;
}

/**
 * Looks at every device; loads the engines but no model. A device that is usable here may
 * still fail on a model, or for want of a library of its own (cuDNN, Vulkan).
 *
 * @param library see {@link DeviceOptions}
 */
export async function surveyDevices(library: string): Promise<DeviceSurvey> {
  const devices: DeviceReport[] = [];
  let native: NativeRuntime | null = null, nativeError = "";
  try {
    native = await loadNative(library);
  } catch (error) {
    if (!(error instanceof OpError)) throw error;
    nativeError = error.message;
  }
  for (const device of ["cuda", "tensorrt", "webgpu"] as const) {
    const why = native ? await obstacleOf(device, library) : nativeError;
    const hint = device === "cuda" ? "" : `; only with --device ${device}`;
    const usable = why === null;
    devices.push({ device, usable, why: why ?? `in ${native!.origin}${hint}` });
  }
  const cpu = native
    ? `ONNX Runtime ${native.runtime.version}, ${native.origin}, ${getAffinity().length} CPUs`
    : nativeError;
  devices.push({ device: "cpu", usable: native !== null, why: cpu });
  devices.push(await surveyWasm());
  const order = ["cuda", "cpu", "wasm"] as const;
  const chosen = order.find((device) =>
    devices.some((report) => report.device === device && report.usable)
  );
  return { chosen: chosen ?? null, devices };
}

async function surveyWasm(): Promise<DeviceReport> {
  try {
    const { ASSETS, readAsset } = await import("./assets.ts");
    await readAsset(ASSETS.wasm);
    return {
      device: "wasm",
      usable: true,
      why: "built-in, one thread, 5 to 10 times slower",
    };
  } catch (error) {
    if (!(error instanceof OpError)) throw error;
    return { device: "wasm", usable: false, why: error.message };
  }
}

function exists(path: string): boolean {
  try {
    // By libc: Deno's own call wants every permission for what is below /dev.
    statAt(AT_FDCWD, path, true);
    return true;
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}
