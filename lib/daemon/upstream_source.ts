/** Upstream mode as the configuration asks for it. */
import type { Config } from "../base/config.ts";
import { InputError } from "../base/errors.ts";
import type { ModelSource } from "./models.ts";
import { readToken } from "./settings.ts";
import { UPSTREAM_DEFAULTS, UpstreamEmbedder } from "./upstream.ts";

/**
 * The one model of the other endpoint; null where none is configured.
 * @throws {InputError} `invalid_config` when a setting is missing
 */
export function upstreamSource(config: Config): ModelSource | null {
  const url = config.get("serve.upstream.url").replace(/\/+$/, "");
  if (url === "") return null;
  const model = config.get("serve.upstream.model");
  const dimensions = config.get("serve.upstream.dimensions");
  if (!/^https?:\/\/[^\s]+$/.test(url) || model === "" || dimensions === 0) {
    throw new InputError(
      "invalid_config",
      "Cannot use serve.upstream: it is incomplete",
      {
        hint: "set url (up to /v1), model and dimensions",
      },
    );
  }
  const options = {
    ...UPSTREAM_DEFAULTS,
    url,
    model,
    dimensions,
    revision: config.get("serve.upstream.revision"),
    token: readToken(config.get("serve.upstream.token_file")),
  };
  return {
    defaultName: model,
    names: () => [model],
    open: () => Promise.resolve(new UpstreamEmbedder(options)),
  };
}
