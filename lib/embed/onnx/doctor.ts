/** What `op-dbus doctor` says about neural embeddings. */
import type { DoctorFact } from "../../base/doctor.ts";
import { type DeviceReport, surveyDevices } from "./devices.ts";

/** What to do where a device that people may miss cannot be used. */
const HINTS: Readonly<Partial<Record<DeviceReport["device"], string>>> = {
  cpu: "ONNX Runtime needs glibc 2.28 and libstdc++ (apt-get install libstdc++6)",
  wasm: "download op-dbus again: its file is incomplete",
};

/**
 * Which engine and device would run a model, and why not a faster one.
 *
 * @param library see {@link DeviceOptions.library}
 */
export async function embedFacts(library: string): Promise<DoctorFact[]> {
  const { chosen, devices } = await surveyDevices(library);
  const found = (device: DeviceReport["device"]) =>
    devices.find((report) => report.device === device)!;
  if (chosen === null) {
    const why = `${found("cpu").why}; ${found("wasm").why}`;
    return [{ name: "onnx", level: "fail", found: why, hint: HINTS.wasm! }];
  }
  const faster = devices.filter(({ device, usable }) => device !== "wasm" && !usable);
  const why = faster.map((report) => `${report.device}: ${report.why}`).join("; ");
  const slow = chosen === "wasm";
  return [{
    name: "onnx",
    level: slow ? "warn" : "ok",
    found: `${chosen} (${found(chosen).why})${why && `; not ${why}`}`,
    hint: slow ? HINTS.cpu! : "",
  }];
}
