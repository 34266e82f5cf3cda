/** op-dbus doctor */
import type { DoctorFact } from "../base/doctor.ts";
import { command } from "./command.ts";
import { toggle } from "./flags.ts";
import type { Output } from "./output.ts";

export const doctor = command<{ measure?: boolean }>({
  brief: "Look at this machine: what works, what does not, what to do about it",
  description:
    "--measure times this machine itself: memory between its nodes, its caches,\n" +
    "the disk under the root, and each layer of the cache. It takes some seconds.",
  examples: ["op-dbus doctor", "op-dbus doctor --measure --json"],
  flags: { measure: toggle("Measure memory, caches, disk and the cache's layers") },
  async run(context, { measure }) {
    const { config, out } = context;
    const { machineFacts } = await import("../base/doctor.ts");
    const { embedFacts } = await import("../embed/onnx/doctor.ts");
    const facts = [
      ...machineFacts({ root: config.get("root"), env: Deno.env.toObject() }),
      ...await embedFacts(config.get("embed.onnxruntime")),
    ];
    if (measure) {
      const { measured } = await import("./doctor_measure.ts");
      const figures = await measured(context);
      out.result(
        { facts, measured: figures.json },
        () =>
          [...facts.map((fact) => describe(fact, out)), "", ...figures.text].join("\n"),
      );
      return;
    }
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
