/** Fetching a model from a hub: its files one by one, then the same checks as `add`. */
import { InputError, OpError } from "../../base/errors.ts";
import type { Layout } from "../../base/layout.ts";
import { acquireLock } from "../../base/lock.ts";
import { addModel, type AddOptions } from "./add.ts";
import { download } from "./download.ts";
import { SETTING_FILES } from "./folder.ts";
import { hashFile } from "./hash.ts";
import { checkRepository, fileUrl, type Hub } from "./hub.ts";
import { checkModelName, localName } from "./names.ts";
import { readOnnxFile } from "./onnx_file.ts";
import { MODEL_FILE, type ModelRecord, TOKENIZER_FILE } from "./record.ts";
import { pullFolder, readModel } from "./store.ts";

/** What to pull and how. */
export interface PullOptions extends Omit<AddOptions, "source"> {
  readonly hub: Hub;
  /** Branch, tag or commit; default main. */
  readonly revision?: string;
  /** Local name; default the repository's last part in lower case. */
  readonly name?: string;
  /** SHA-256 by file of the repository, e.g. `onnx/model.onnx`. */
  readonly pins?: Readonly<Record<string, string>>;
  /** All files together may not be larger. */
  readonly maxBytes: number;
  /** @param file of the repository @param total bytes, 0 when unknown */
  readonly progress?: (file: string, done: number, total: number) => void;
  /** See {@link download}, as `sleep`. */
  readonly waiting?: (pauseMs: number, why: string) => void;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const MODEL_PLACES = ["onnx/model.onnx", "model.onnx"];

/**
 * Pulls a model. What was fetched of it before is not fetched again; the model that has
 * the name is replaced in one step, when everything is there and works.
 *
 * A model pulled before must come with the bytes that were recorded then, unless
 * `replace` is set.
 *
 * @param repository OWNER/MODEL
 * @throws {InputError} when the hub has no such model, or it is no usable one
 * @throws {DifferenceError} when a file is not the pinned one
 */
export async function pullModel(
  layout: Layout,
  repository: string,
  options: PullOptions,
): Promise<ModelRecord> {
  const revision = options.revision ?? "main";
  checkRepository(repository, revision);
  const name = options.name ?? localName(repository);
  checkModelName(name);
  const source = `${options.hub.url}/${repository}@${revision}`;
  const before = readModel(layout, name);
  if (before && before.source !== source && !options.replace) {
    throw new InputError("model_exists", `There is a model ${name} already`, {
      hint: "choose another name with --as, or replace it with --force",
    });
  }
  await Deno.mkdir(layout.models, { recursive: true });
  await Deno.mkdir(layout.meta, { recursive: true });
  using _lock = await acquireLock(layout.lock(`model-pull-${name}`), options);
  const folder = pullFolder(layout, name);
  const recorded = options.replace ? {} : recordedPins(before, options.file);
  const fetching = new Fetching(repository, revision, folder, options, recorded);
  const file = await fetchAll(fetching, options.file).catch(async (error) => {
    // There is nothing to go on with, should the same be asked for again.
    if (error instanceof InputError && error.code === "not_on_hub") {
      await Deno.remove(folder, { recursive: true });
    }
    throw error;
  });
  fetching.checkPins();
  const record = await addModel(layout, name, folder, {
    ...options,
    file,
    source,
    replace: options.replace === true || before !== null,
  });
  await Deno.remove(folder, { recursive: true });
  return record;
}

/**
 * Digests of the files as recorded, by their path in the repository. A record does not
 * say where in the repository its model was: both places are pinned, one may be empty.
 */
function recordedPins(
  record: ModelRecord | null,
  named: string | undefined,
): Record<string, string> {
  const pins: Record<string, string> = {};
  if (record === null) return pins;
  const places = named === undefined ? MODEL_PLACES : [named];
  for (const { path, sha256 } of record.files) {
    if (path === MODEL_FILE) { for (const place of places) pins[place] = sha256; }
    else if (record.external_files.includes(path)) {
      for (const place of places) pins[beside(place) + path] = sha256;
    } else pins[path] = sha256;
  }
  return pins;
}

/** The folder of a file, with its slash: where a model's weights are. */
function beside(file: string): string {
  return file.slice(0, file.lastIndexOf("/") + 1);
}

/** @returns the model file's path in the folder */
async function fetchAll(fetching: Fetching, named: string | undefined): Promise<string> {
  const places = named === undefined ? MODEL_PLACES : [named];
  // The small files first: a wrong name is noticed before a large download.
  if (!await fetching.fetch(TOKENIZER_FILE)) throw fetching.absent(TOKENIZER_FILE);
  for (const file of Object.values(SETTING_FILES)) await fetching.fetch(file);
  for (const place of places) {
    if (!await fetching.fetch(place)) continue;
    for (const name of readOnnxFile(`${fetching.folder}/${place}`).externalFiles) {
      const file = beside(place) + name;
      if (!await fetching.fetch(file)) throw fetching.absent(file);
    }
    return place;
  }
  throw fetching.absent(places.join(" or "));
}

/** Files of one repository on their way into one folder. */
class Fetching {
  #bytes = 0;
  /** Files of the repository that are here. */
  readonly #fetched = new Set<string>();

  constructor(
    readonly repository: string,
    readonly revision: string,
    readonly folder: string,
    readonly options: PullOptions,
    /** Digests of an earlier pull; those that the user names go before. */
    readonly recorded: Readonly<Record<string, string>>,
  ) {}

  absent(file: string): InputError {
    const { hub } = this.options;
    return new InputError(
      "not_on_hub",
      `Cannot pull ${this.repository}: ${hub.url} has no ${file} of it at ${this.revision}`,
      { hint: "check the name and the revision; --file names another .onnx file" },
    );
  }

  /** @throws {InputError} for a pin of the user's that no file was compared with */
  checkPins(): void {
    const unused = Object.keys(this.options.pins ?? {}).find((file) =>
      !this.#fetched.has(file)
    );
    if (unused === undefined) return;
    const message = `Cannot pull ${this.repository}: ${unused} is pinned, ` +
      "but no file of that name belongs to the model";
    throw new InputError("bad_pin", message, {
      hint: `name the file as in the repository: ${[...this.#fetched].join(", ")}`,
    });
  }

  /** @returns false when the repository has no such file */
  async fetch(file: string): Promise<boolean> {
    const parts = file.split("/");
    if (parts.some((part) => part === "" || part === "." || part === "..")) {
      throw new InputError("bad_model", `Cannot pull the file ${JSON.stringify(file)}`);
    }
    const { hub, progress, signal, waiting, sleep, maxBytes } = this.options;
    const target = `${this.folder}/${file}`;
    await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    const named = this.options.pins?.[file];
    const pin = named ?? this.recorded[file];
    if (pin !== undefined && await alreadyThere(target, pin)) {
      this.#fetched.add(file);
      return true;
    }
    const url = fileUrl(hub, this.repository, this.revision, file);
    const found = await download(hub, url, target, {
      maxBytes: maxBytes - this.#bytes,
      ...(pin !== undefined && { sha256: pin }),
      ...(signal && { signal }),
      ...(waiting && { waiting }),
      ...(sleep && { sleep }),
      ...(progress && {
        progress: (done: number, total: number) => progress(file, done, total),
      }),
    });
    if (found === null) {
      const elsewhere = named === undefined && MODEL_PLACES.includes(file);
      if (pin === undefined || elsewhere) return false;
      throw new OpError("not_on_hub", `Cannot pull ${file}: it is pinned, but gone`);
    }
    this.#fetched.add(file);
    this.#bytes += (await Deno.stat(target)).size;
    return true;
  }
}

/** A pinned file that an interrupted pull had finished. */
async function alreadyThere(path: string, sha256: string): Promise<boolean> {
  try {
    return (await hashFile(path)).sha256 === sha256;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
