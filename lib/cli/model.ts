/** op-dbus model */
import { formatSize } from "../base/units.ts";
import type { ModelRecord } from "../embed/model/record.ts";
import type { DeviceSurvey } from "../embed/onnx/devices.ts";
import { command, group } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, toggle } from "./flags.ts";
import { modelAdd } from "./model_add.ts";
import { modelPull } from "./model_pull.ts";
import { modelRemove } from "./model_remove.ts";
import { BUILTIN, chosenModel } from "./open_embedder.ts";
import { table } from "./table.ts";

const list = command<{ verify?: boolean }>({
  brief: "List the models, and where they would run",
  description: "--verify compares every file of every model with the digest it was\n" +
    "added with; exit 1 at the first that differs.",
  examples: ["op-dbus model list", "op-dbus model list --verify --json"],
  flags: { verify: toggle("Compare the files with their digests") },
  async run(context, { verify }) {
    const { listModels, modelFolder } = await import("../embed/model/store.ts");
    const { surveyDevices } = await import("../embed/onnx/devices.ts");
    const models = listModels(context.layout);
    if (verify) {
      const { verifyModel } = await import("../embed/model/verify.ts");
      for (const record of models) {
        const folder = modelFolder(context.layout, record.name);
        await verifyModel(record, folder, context.signal);
      }
    }
    const used = await chosenModel(context);
    const survey = await surveyDevices(context.config.get("embed.onnxruntime"));
    context.out.result(
      { default: used, models, device: survey.chosen, devices: survey.devices },
      () => describe(context, models, used, survey),
    );
  },
});

function describe(
  context: Context,
  models: readonly ModelRecord[],
  used: string,
  survey: DeviceSurvey,
): string {
  const rows = models.map((model) => [
    model.name === used ? `${model.name} *` : model.name,
    String(model.dimensions),
    model.precision,
    `${model.pooling}${model.normalisation === "l2" ? ", l2" : ""}`,
    String(model.max_tokens),
    formatSize(model.files.reduce((sum, file) => sum + file.size_bytes, 0)),
    model.digest.slice(0, 12),
  ]);
  const builtin = used === BUILTIN ? `${BUILTIN} *` : BUILTIN;
  rows.unshift([builtin, "384", "-", "lexical", "-", "-", "-"]);
  const header = ["NAME", "DIM", "TYPE", "POOLING", "TOKENS", "SIZE", "DIGEST"];
  const devices = survey.devices.map(({ device, usable, why }) => {
    const { out } = context;
    const sign = device === survey.chosen ? "*" : usable ? "+" : "-";
    const line = `  ${sign} ${device}: ${why}`;
    return usable ? line : out.style("dim", line);
  });
  return [table(header, rows, [1, 4, 5]), "", "Devices (* is used):", ...devices]
    .join("\n");
}

const setDefault = command<object, [string | undefined]>({
  brief: "Show or choose the model that is used when none is named",
  description: "The key embed.model of the configuration, where it is set, goes before.",
  examples: ["op-dbus model default", "op-dbus model default minilm"],
  flags: {},
  positional: {
    kind: "tuple",
    parameters: [{ ...argument("Name, or builtin", "NAME"), optional: true }],
  },
  async run(context, _flags, name) {
    if (name !== undefined) {
      const { requireRoot } = await import("../base/root.ts");
      requireRoot(context.layout.root);
      const { setDefaultModel } = await import("../embed/model/store.ts");
      await setDefaultModel(context.layout, name, { signal: context.signal });
    }
    const used = await chosenModel(context);
    if (name !== undefined && used !== name) {
      const { origin } = context.config.entry("embed.model");
      context.out.warn(`${used} is used all the same: ${origin} says so`);
    }
    context.out.result({ default: used }, () => used);
  },
});

export const model = group("Keep embedding models by name", {
  list,
  add: modelAdd,
  pull: modelPull,
  remove: modelRemove,
  default: setDefault,
});
