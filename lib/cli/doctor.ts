/** op-dbus doctor */
import type { DoctorFact } from "../base/doctor.ts";
import { command } from "./command.ts";
import type { Output } from "./output.ts";

export const doctor = command({
  brief: "Look at this machine: what works, what does not, what to do about it",
  examples: ["op-dbus doctor", "op-dbus doctor --json"],
  flags: {},
  async run({ config, out }) {
    const { machineFacts } = await import("../base/doctor.ts");
    const { embedFacts } = await import("../embed/onnx/doctor.ts");
    const facts = [
      ...machineFacts({ root: config.get("root"), env: Deno.env.toObject() }),
      ...await embedFacts(config.get("embed.onnxruntime")),
    ];
    out.result({ facts }, () => facts.map((fact) => describe(fact, out)).join("\n"));
  },
});

const SIGNS = {
  ok: ["green", "ok  "],
  warn: ["yellow", "warn"],
  fail: ["red", "FAIL"],
} as const;

function describe({ name, level, found, hint }: DoctorFact, out: Output): string {
  const [style, sign] = SIGNS[level];
  const line = `${out.style(style, sign)}  ${name}: ${found}`;
  return hint ? `${line}\n      ${out.style("dim", `-> ${hint}`)}` : line;
}
