/** op-dbus model pull */
import { InputError } from "../base/errors.ts";
import { command } from "./command.ts";
import { argument, textFlag } from "./flags.ts";
import { addOptions, MODEL_FLAGS, type ModelFlags, reportModel } from "./model_add.ts";
import { progressBar, tellPauses } from "./progress.ts";

interface PullFlags extends ModelFlags {
  readonly as?: string;
  readonly revision?: string;
  readonly sha256?: readonly string[];
}

export const modelPull = command<PullFlags, [string]>({
  brief: "Fetch a model from a hub",
  description:
    "NAME is OWNER/MODEL of the hub (models.hub). A pull that was cut goes on\n" +
    "where it stopped. Files must have the SHA-256 of --sha256, else the one that the\n" +
    "hub states; a model pulled again must be the same as before, unless --force.\n" +
    "HF_TOKEN is sent to the hub, and to no other host.",
  examples: [
    "op-dbus model pull sentence-transformers/all-MiniLM-L6-v2",
    "op-dbus model pull intfloat/e5-small-v2 --as e5 --revision main",
    "op-dbus model pull OWNER/MODEL --sha256 onnx/model.onnx=" + "0".repeat(64),
  ],
  flags: {
    as: textFlag("Local name (default: MODEL in lower case)", "NAME"),
    revision: textFlag("Branch, tag or commit (default main)", "REV"),
    sha256: {
      kind: "parsed",
      parse: (text: string) => text,
      brief: "FILE=HEX: the digest that a file must have; may be repeated",
      placeholder: "PIN",
      optional: true,
      variadic: true,
    },
    ...MODEL_FLAGS,
  },
  positional: { kind: "tuple", parameters: [argument("OWNER/MODEL", "NAME")] },
  async run(context, flags, repository) {
    const { requireRoot } = await import("../base/root.ts");
    requireRoot(context.layout.root);
    const { pullModel } = await import("../embed/model/pull.ts");
    const { config } = context;
    const bar = progressBar(context.out, `Pulling ${repository}`, 0, "bytes");
    let file = "";
    try {
      const record = await pullModel(context.layout, repository, {
        ...addOptions(context, flags),
        hub: {
          url: hubAddress(config.get("models.hub")),
          hosts: config.get("models.hub_hosts"),
          token: Deno.env.get("HF_TOKEN") ?? "",
        },
        ...(flags.as !== undefined && { name: flags.as }),
        ...(flags.revision !== undefined && { revision: flags.revision }),
        pins: pinsOf(flags.sha256 ?? []),
        maxBytes: config.get("models.max_size"),
        waiting: tellPauses(context.out),
        progress: (now, done, total) => {
          if (now !== file) context.out.debug(`fetching ${file = now}`);
          bar.update(done, total);
        },
      });
      bar.stop();
      reportModel(context, "Pulled", record);
    } finally {
      bar.stop();
    }
  },
});

function hubAddress(text: string): string {
  const url = URL.parse(text);
  if (url && /^https?:$/.test(url.protocol)) return text.replace(/\/+$/, "");
  const message = `models.hub is no address: ${JSON.stringify(text)}`;
  throw new InputError("invalid_config", message, { hint: "give one with https://" });
}

function pinsOf(texts: readonly string[]): Record<string, string> {
  const pins: Record<string, string> = {};
  for (const text of texts) {
    const match = /^([^=]+)=([0-9a-fA-F]{64})$/.exec(text);
    if (!match) {
      throw new InputError("usage", `${JSON.stringify(text)} is no FILE=SHA256`, {
        hint: "for example --sha256 onnx/model.onnx=<64 hexadecimal digits>",
      });
    }
    pins[match[1]!] = match[2]!.toLowerCase();
  }
  return pins;
}
