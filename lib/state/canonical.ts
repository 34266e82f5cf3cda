/** JSON with one spelling per value, and its hash. */
import { sha256Hex } from "../base/sha256.ts";
import type { Json } from "../dbus/value.ts";

/** JSON with sorted keys and no spaces. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${
    entries.map(([key, child]) => `${JSON.stringify(key)}:${canonicalJson(child)}`).join(
      ",",
    )
  }}`;
}

/** SHA-256 of the canonical form, lowercase hex. */
export function hashJson(value: Json): string {
  return sha256Hex(canonicalJson(value));
}
