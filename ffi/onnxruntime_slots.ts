/**
 * ONNX Runtime's C API as a table of function pointers: which slot holds what, and how it
 * is called. New releases only append, so these numbers hold for every library that
 * answers to {@link API_VERSION}.
 *
 * Source: include/onnxruntime/core/session/onnxruntime_c_api.h, `struct OrtApi`.
 */

/** The API version asked for: 1.17 (2024). Newer libraries serve it, older ones give NULL. */
export const API_VERSION = 17;

type Param = "pointer" | "buffer" | "i32" | "i64" | "usize";

/** Slot, parameters after none; all return OrtStatus* (NULL is success) or nothing. */
export interface Slot {
  readonly slot: number;
  readonly parameters: readonly Param[];
  readonly result: "pointer" | "void" | "i32";
}

const status = (slot: number, ...parameters: Param[]): Slot => ({
  slot,
  parameters,
  result: "pointer",
});
const release = (slot: number): Slot => ({
  slot,
  parameters: ["pointer"],
  result: "void",
});

export const SLOTS = {
  GetErrorCode: { slot: 1, parameters: ["pointer"], result: "i32" },
  GetErrorMessage: { slot: 2, parameters: ["pointer"], result: "pointer" },
  /** (level, logid, OrtEnv**) */
  CreateEnv: status(3, "i32", "buffer", "buffer"),
  DisableTelemetryEvents: status(6, "pointer"),
  /** (env, path, options, OrtSession**) */
  CreateSession: status(7, "pointer", "buffer", "pointer", "buffer"),
  /** (env, bytes, length, options, OrtSession**) */
  CreateSessionFromArray: status(8, "pointer", "buffer", "usize", "pointer", "buffer"),
  /** (session, runOptions, names[], values[], n, outNames[], m, outValues[]) */
  Run: status(
    9,
    "pointer",
    "pointer",
    "buffer",
    "buffer",
    "usize",
    "buffer",
    "usize",
    "buffer",
  ),
  CreateSessionOptions: status(10, "buffer"),
  SetSessionExecutionMode: status(13, "pointer", "i32"),
  DisableCpuMemArena: status(19, "pointer"),
  SetSessionLogSeverityLevel: status(22, "pointer", "i32"),
  SetSessionGraphOptimizationLevel: status(23, "pointer", "i32"),
  SetIntraOpNumThreads: status(24, "pointer", "i32"),
  CreateRunOptions: status(39, "buffer"),
  RunOptionsSetTerminate: status(46, "pointer"),
  /** (memoryInfo, data, bytes, dims, n, type, OrtValue**) */
  CreateTensorWithDataAsOrtValue: status(
    49,
    "pointer",
    "buffer",
    "usize",
    "buffer",
    "usize",
    "i32",
    "buffer",
  ),
  GetTensorMutableData: status(51, "pointer", "buffer"),
  GetTensorElementType: status(60, "pointer", "buffer"),
  GetDimensionsCount: status(61, "pointer", "buffer"),
  GetDimensions: status(62, "pointer", "buffer", "usize"),
  GetTensorTypeAndShape: status(65, "pointer", "buffer"),
  /** (allocatorType, memType, OrtMemoryInfo**) */
  CreateCpuMemoryInfo: status(69, "i32", "i32", "buffer"),
  ReleaseEnv: release(92),
  ReleaseStatus: release(93),
  ReleaseMemoryInfo: release(94),
  ReleaseSession: release(95),
  ReleaseValue: release(96),
  ReleaseRunOptions: release(97),
  ReleaseTensorTypeAndShapeInfo: release(99),
  ReleaseSessionOptions: release(100),
  /** (char***, int*) */
  GetAvailableProviders: status(125, "buffer", "buffer"),
  ReleaseAvailableProviders: status(126, "pointer", "i32"),
  AddSessionConfigEntry: status(130, "pointer", "buffer", "buffer"),
  AppendTensorRT: status(170, "pointer", "pointer"),
  CreateTensorRTProviderOptions: status(171, "buffer"),
  /** (options, keys[], values[], n) */
  UpdateTensorRTProviderOptions: status(172, "pointer", "buffer", "buffer", "usize"),
  ReleaseTensorRTProviderOptions: release(174),
  AppendCUDA: status(204, "pointer", "pointer"),
  CreateCUDAProviderOptions: status(205, "buffer"),
  UpdateCUDAProviderOptions: status(206, "pointer", "buffer", "buffer", "usize"),
  ReleaseCUDAProviderOptions: release(208),
  /** (options, name, keys[], values[], n) */
  AppendExecutionProvider: status(216, "pointer", "buffer", "buffer", "buffer", "usize"),
} as const satisfies Record<string, Slot>;

export type SlotName = keyof typeof SLOTS;

/** ONNXTensorElementDataType, as far as an encoder's inputs and outputs go. */
export const TENSOR_FLOAT = 1;
export const TENSOR_INT32 = 6;
export const TENSOR_INT64 = 7;
export const TENSOR_FLOAT16 = 10;

/** GraphOptimizationLevel ORT_ENABLE_ALL. */
export const OPTIMISE_ALL = 99;
/** OrtLoggingLevel FATAL: what is caught is not printed as well. */
export const LOG_FATAL = 4;
/** OrtAllocatorType OrtArenaAllocator, OrtMemType OrtMemTypeDefault. */
export const ARENA_ALLOCATOR = 1;
export const MEMORY_DEFAULT = 0;
