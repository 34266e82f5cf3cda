/** The note inside a live plugin that says which version it was made from. */
import * as v from "valibot";
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } from "../../ffi/files.ts";
import { openAt, withFd, writeAll } from "../../ffi/files.ts";
import { NameSchema, VersionSchema } from "./manifest_schema.ts";
import { parseJson } from "./json_file.ts";
import { PluginFolder } from "./plugin_files.ts";

/** Its name in the plugin's folder; never packed. */
export const MARKER_FILE = ".op-dbus.json";
const MAX_MARKER_BYTES = 4096;

const MarkerSchema = v.object({
  format: v.literal(1),
  name: NameSchema,
  version: VersionSchema,
  /** Tree digest of the version. */
  tree: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  activated: v.string(),
});

export type Marker = v.InferOutput<typeof MarkerSchema>;

/** Reads a live plugin's marker; null where it was not made from a version. */
export function readMarker(path: string): Marker | null {
  using folder = new PluginFolder(path);
  const text = folder.readText(MARKER_FILE, MAX_MARKER_BYTES);
  return text === null ? null : parseJson(MarkerSchema, text, `${path}/${MARKER_FILE}`);
}

/** Writes the marker into a tree that is being made; durable once that is synced. */
export function writeMarker(path: string, marker: Marker): void {
  using folder = new PluginFolder(path);
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  withFd(openAt(folder.fd, MARKER_FILE, flags, 0o644), (fd) => {
    writeAll(fd, new TextEncoder().encode(JSON.stringify(marker, null, 2) + "\n"));
  });
}
