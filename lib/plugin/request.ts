/** What `plugin install` may be given: a file, a URL, a name with a range. */
import { InputError } from "../base/errors.ts";
import { type NameRange, parseNameRange } from "./names.ts";
import { asPlainLine } from "./plain_text.ts";

/** One thing to install. */
export type InstallRequest =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "name"; readonly wanted: NameRange };

/**
 * Tells a file, a URL and a name apart by their form alone.
 *
 * @param text `./lxc-v1.2.0.btrfs.zst`, `https://…`, `lxc`, `lxc@1.2.0`, `lxc@^1.2`
 * @param workingFolder what a relative path starts from
 * @throws {InputError} `bad_request`
 */
export function parseRequest(text: string, workingFolder: string): InstallRequest {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return { kind: "url", url: text };
  if (text.includes("/") || /\.(zst|btrfs)$/.test(text)) {
    const relative = text.replace(/^(\.\/+)+/, "");
    const path = text.startsWith("/") ? text : `${workingFolder}/${relative}`;
    return { kind: "file", path };
  }
  // `lxc@v1.2.0`, as the snapshot is called, means 1.2.0.
  const wanted = parseNameRange(text.replace(/@v(?=\d)/, "@"));
  if (wanted) return { kind: "name", wanted };
  throw new InputError("bad_request", `Cannot install ${asPlainLine(text)}`, {
    hint: "give a package file, a URL, or NAME, NAME@1.2.0, NAME@^1.2",
  });
}
