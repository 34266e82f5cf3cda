/** Names of models. */
import { InputError } from "../../base/errors.ts";

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** Names that mean the embedder that needs no files. */
const RESERVED = ["builtin", "builtin-hash-v1", "default"];

/** @throws {InputError} when a model cannot be called that */
export function checkModelName(name: string): void {
  const why = RESERVED.includes(name)
    ? "that name is taken"
    : NAME.test(name)
    ? null
    : "a name has lower-case letters, digits, dots, dashes, underscores, at most 64";
  if (why === null) return;
  throw new InputError(
    "bad_name",
    `Cannot use ${JSON.stringify(name)} as a name: ${why}`,
    {
      hint: "choose one like all-minilm-l6-v2",
    },
  );
}

/** A local name for a model of a hub: the last part, in lower case. */
export function localName(repository: string): string {
  const last = repository.split("/").at(-1) ?? "";
  return last.toLowerCase().replace(/[^a-z0-9._-]/g, "-");
}
