/**
 * `plugin create NAME --from-dbus SERVICE`: a plugin from what a service says of itself.
 * Made again, it keeps every edit by a person and reports what changed in the service.
 */
import { createSubvolume } from "../../ffi/btrfs.ts";
import { isSysError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { writeDurably } from "../base/durable.ts";
import { OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { makeFolders, requireRoot } from "../base/root.ts";
import { sha256Hex } from "../base/sha256.ts";
import type { Bus } from "../dbus/bus.ts";
import { BusError } from "../dbus/bus_error.ts";
import { introspect, walkObjects } from "../dbus/introspect.ts";
import type { Introspection } from "../dbus/introspect.ts";
import { isObject, type Json, plain } from "../dbus/value.ts";
import { checkMapping, formatProblem } from "../plugin/mapping.ts";
import {
  type Generated,
  generateMapping,
  isOwnInterface,
} from "../plugin/mapping_generate.ts";
import { mergeMapping, type MergeReport } from "../plugin/mapping_merge.ts";
import { joinBlocks } from "../plugin/mapping_write.ts";
import { requirePluginName } from "../plugin/names.ts";
import type { Buses } from "./buses.ts";
import { restorable } from "./checkpoint.ts";
import { proposeCollections } from "./create_objects.ts";
import { exampleText, manifestText, preambleText, readmeText } from "./create_texts.ts";
import { readJson, writeJson } from "./files.ts";
import { observeEach } from "./observe.ts";

/** What to generate from. */
export interface CreateOptions {
  readonly layout: Layout;
  readonly buses: Buses;
  readonly service: string;
  /** `system` by default. */
  readonly bus?: string;
  /** The object; by default from the service's name, else the first that has something. */
  readonly path?: string;
  /** Only this interface; default all of the object. */
  readonly interface?: string;
  readonly author?: string;
  readonly signal?: AbortSignal;
}

/** What was written. */
export interface CreateResult {
  readonly folder: string;
  /** False when the plugin was there and has been generated again. */
  readonly created: boolean;
  readonly path: string;
  readonly methods: number;
  readonly safe: number;
  readonly states: readonly string[];
  /** Methods that pass file descriptors and so cannot be called. */
  readonly uncallable: readonly string[];
  readonly report: MergeReport;
  /** Files that a person has edited and that were left alone. */
  readonly left: readonly string[];
  /** Why there is no example of the present state, or not a new one; null when there is. */
  readonly exampleProblem: string | null;
}

const MAPPING = "semantic-mapping.toml", GENERATED = ".generated.json";
const MAX_FILE_BYTES = 8 * 1024 * 1024;

/**
 * Generates a plugin.
 *
 * @param name the plugin's
 * @throws {InputError} a bad name
 * @throws {BusError} the service cannot be reached
 * @throws {OpError} `nothing_to_map`
 */
export async function createPlugin(
  name: string,
  options: CreateOptions,
): Promise<CreateResult> {
  requirePluginName(name);
  const { layout, service, bus: where = "system" } = options;
  const kind = requireRoot(layout.root);
  const bus = await options.buses.get(where);
  const object = await findObject(bus, options);
  const own = object.data.interfaces.filter(({ name }) =>
    isOwnInterface(name) &&
    (options.interface === undefined || name === options.interface)
  );
  const main = options.interface ?? mainInterface(service, own.map(({ name }) => name));
  const folder = layout.plugin(name);
  const notes = new Notes(folder);
  const singles = generateMapping({
    bus: where,
    service,
    path: object.path,
    interface: main,
    interfaces: own,
  });
  const generated = options.interface === undefined
    ? await withCollections(bus, singles, object, notes.mapping, options)
    : singles;
  // Before anything is made: what cannot be mapped leaves nothing behind.
  const merged = mergeWithMine(folder, service, generated, notes);
  const created = makePluginFolder(layout, `@plugin-${name}`, kind === "btrfs");
  writePlugin(name, folder, object, generated, merged.text, notes, options);
  const { example, problem } = await liveExample(name, folder, options);
  if (example) writeOwn(folder, "examples/present.json", example, notes);
  notes.save();
  return {
    folder,
    created,
    path: object.path,
    methods: generated.methods.length,
    safe: generated.methods.filter((method) => method.safe).length,
    states: generated.states,
    uncallable: generated.methods.filter((m) => !m.callable).map((m) => m.name),
    report: merged.report,
    left: notes.left,
    exampleProblem: problem,
  };
}

/** With the collections that the service's ObjectManager suggests. */
async function withCollections(
  bus: Bus,
  generated: Generated,
  { path, data }: FoundObject,
  before: string | null,
  { service, signal }: CreateOptions,
): Promise<Generated> {
  const input = {
    service,
    path,
    mapped: data.interfaces.map(({ name }) => name),
    states: generated.states,
    before,
  };
  const made = await proposeCollections(bus, input, signal ? { signal } : {});
  const names = made.map(({ name }) => name.slice("state.".length));
  return {
    ...generated,
    blocks: [...generated.blocks, ...made],
    states: [...generated.states, ...names],
  };
}

interface FoundObject {
  readonly path: string;
  readonly data: Introspection;
  readonly xml: string;
}

/** The object to map: the one named, the usual one, or the first with an own interface. */
async function findObject(bus: Bus, options: CreateOptions): Promise<FoundObject> {
  const { service, signal } = options;
  const call = signal ? { signal } : {};
  const usual = `/${service.replaceAll(".", "/").replaceAll("-", "_")}`;
  const path = options.path ?? usual;
  const isMapped = ({ data }: { data: Introspection }) =>
    data.interfaces.some(({ name }) =>
      options.interface === undefined ? isOwnInterface(name) : name === options.interface
    );
  try {
    const found = { path, ...await introspect(bus, service, path, call) };
    if (isMapped(found)) return found;
  } catch (error) {
    const isThere = error instanceof BusError && error.code === "dbus_unknown";
    if (options.path !== undefined || !isThere) throw error;
  }
  if (options.path === undefined) {
    const { objects } = await walkObjects(bus, service, { ...call, maxObjects: 200 });
    const found = objects.find(isMapped);
    if (found) return found;
  }
  const what = options.interface ?? "interface of its own";
  throw new OpError("nothing_to_map", `${service} has no ${what} at ${path}`, {
    hint: `see what it has: busctl tree ${service}; then give --path and --interface`,
  });
}

/** The interface named as the service, or the longest that begins so, or the first. */
function mainInterface(service: string, names: readonly string[]): string {
  return names.find((name) => name === service) ??
    names.find((name) => name === `${service}.Manager`) ??
    names.find((name) => name.startsWith(`${service}.`)) ?? names[0]!;
}

/** Makes the folder, on btrfs as a subvolume. False when it was there. */
function makePluginFolder(layout: Layout, name: string, btrfs: boolean): boolean {
  if (!btrfs) return makeFolders(`${layout.root}/${name}`);
  try {
    withFd(
      open(layout.root, O_RDONLY | O_DIRECTORY),
      (fd) => createSubvolume(fd, name),
    );
    return true;
  } catch (error) {
    if (isSysError(error, "EEXIST")) return false;
    throw error;
  }
}

/** What was generated before, so that a person's edits can be told from it. */
class Notes {
  readonly #hashes: Record<string, string>;
  mapping: string | null;
  readonly left: string[] = [];

  constructor(private readonly folder: string) {
    const value = readJson(`${folder}/${GENERATED}`);
    const files = isObject(value) && isObject(value.files) ? value.files : {};
    this.#hashes = { ...(files as Record<string, string>) };
    this.mapping = isObject(value) && typeof value.mapping === "string"
      ? value.mapping
      : null;
  }
  isEdited(file: string, text: string): boolean {
    return this.#hashes[file] !== sha256Hex(text);
  }
  note(file: string, text: string): void {
    this.#hashes[file] = sha256Hex(text);
  }
  save(): void {
    const value = { files: this.#hashes, mapping: this.mapping };
    writeJson(`${this.folder}/${GENERATED}`, value, 0o644);
  }
}

/** Writes a file unless a person has edited it. */
function writeOwn(folder: string, file: string, text: string, notes: Notes): void {
  const before = readText(`${folder}/${file}`);
  if (before !== null && before !== text && notes.isEdited(file, before)) {
    notes.left.push(file);
    return;
  }
  writeText(`${folder}/${file}`, text);
  notes.note(file, text);
}

function writeText(path: string, text: string): void {
  makeFolders(path.slice(0, path.lastIndexOf("/")));
  writeDurably(path, new TextEncoder().encode(text));
}

function readText(path: string): string | null {
  try {
    return readTextFile(path, MAX_FILE_BYTES);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
}

/** The mapping's text: generated, or merged with what a person made of it. */
function mergeWithMine(
  folder: string,
  service: string,
  generated: Generated,
  notes: Notes,
): { text: string; report: MergeReport } {
  const fresh = joinBlocks(preambleText(service), generated.blocks);
  const mine = readText(`${folder}/${MAPPING}`);
  const merged = mine === null
    ? { text: fresh, report: emptyReport(generated.blocks.map((block) => block.name)) }
    : mergeMapping(notes.mapping, mine, generated.blocks);
  const { problems } = checkMapping(merged.text, MAPPING);
  const broken = problems.find(({ severity }) => severity === "error");
  if (broken) {
    const what = mine === null
      ? `map ${service}`
      : `merge what changed in ${service} with your edits`;
    throw new OpError("bad_mapping", `Cannot ${what}: ${formatProblem(broken)}`, {
      hint: mine === null
        ? "nothing was written; try one --interface of it"
        : "nothing was written; correct the mapping, then create it again",
    });
  }
  notes.mapping = fresh;
  return merged;
}

function writePlugin(
  name: string,
  folder: string,
  object: FoundObject,
  generated: Generated,
  mapping: string,
  notes: Notes,
  { service, author }: CreateOptions,
): void {
  writeText(`${folder}/${MAPPING}`, mapping);
  writeText(`${folder}/introspection.xml`, object.xml);
  writeOwn(folder, "README.md", readmeText(name, service, object.path, generated), notes);
  // Last: a folder without it is no plugin, so one that was cut short is none.
  if (readText(`${folder}/plugin.toml`) === null) {
    writeText(`${folder}/plugin.toml`, manifestText(name, service, author));
  }
}

function emptyReport(added: readonly string[]): MergeReport {
  return { added, updated: [], removed: [], kept: [], conflicts: [] };
}

/** A state file of what is there now; none when nothing of it can be written back. */
async function liveExample(
  name: string,
  folder: string,
  { buses, signal }: CreateOptions,
): Promise<{ example: string | null; problem: string | null }> {
  const { mapping } = checkMapping(readText(`${folder}/${MAPPING}`)!, MAPPING);
  const { service } = mapping!;
  if (!service) return { example: null, problem: "the mapping has no [service]" };
  const whole = { ...mapping!, service };
  const plugin = { name, version: "0.1.0", folder, mapping: whole, dependencies: [] };
  const [observed] = await observeEach([plugin], buses, signal ? { signal } : {});
  // The plugin is whole without it.
  if ("error" in observed!) return { example: null, problem: observed.error.message };
  const { kept } = restorable([plugin], { [name]: observed!.states });
  if (!kept[name]) return { example: null, problem: "nothing of it can be written back" };
  return { example: exampleText({ [name]: plain(kept[name] as Json) }), problem: null };
}
