/** op-dbus embed */
import { InputError } from "../base/errors.ts";
import { atOnce } from "../base/slices.ts";
import type { EmbeddingCache } from "../cache/embedding_cache.ts";
import type { Context } from "./context.ts";
import { command } from "./command.ts";
import { textFlag, toggle } from "./flags.ts";
import {
  type InputStats,
  type InputText,
  textsOfArguments,
  textsOfFile,
} from "./embed_input.ts";
import { EMBED_OUTPUTS, type EmbedOutput, vectorWriter } from "./embed_output.ts";
import { openCache } from "./open_cache.ts";
import { EMBEDDER_FLAGS, type EmbedderFlags, openEmbedder } from "./open_embedder.ts";
import { progressBar } from "./progress.ts";

/** Texts that go through the cache at a time: few enough to stop soon on Ctrl-C. */
const BATCH_TEXTS = 256;
/** A batch is also closed at this many characters, so that memory stays bounded. */
const BATCH_CHARS = 4 * 1024 * 1024;

interface EmbedFlags extends EmbedderFlags {
  readonly file?: string;
  readonly jsonl?: boolean;
  readonly output?: EmbedOutput;
}

export const embed = command<EmbedFlags, string[]>({
  brief: "Turn texts into vectors, each computed once",
  description: "Texts are arguments, or the lines of --file or standard input. Empty\n" +
    "lines are left out; `line` in the output says where each text stood.\n" +
    "--output: json (one document), jsonl (one object per text, as they come), npy\n" +
    "(NumPy), raw (little-endian float32), none (fill the cache only).",
  examples: [
    'op-dbus embed "open port 80"',
    "op-dbus embed --file notes.txt --output npy > notes.npy",
    `echo '{"id":7,"text":"hello"}' | op-dbus embed --jsonl`,
    "op-dbus embed --model minilm --device cpu --file notes.txt --output none",
  ],
  flags: {
    file: textFlag("Read texts from a file, one per line; - is standard input", "FILE"),
    jsonl: toggle('Each line is {"text":"...","id":...} or a JSON string; writes jsonl'),
    ...EMBEDDER_FLAGS,
    output: {
      kind: "enum",
      values: EMBED_OUTPUTS,
      brief: "Form of the output (default json; jsonl with --jsonl)",
      optional: true,
    },
  },
  positional: {
    kind: "array",
    parameter: { brief: "Text", placeholder: "TEXT", parse: (text: string) => text },
  },
  run: runEmbed,
});

async function runEmbed(context: Context, flags: EmbedFlags, ...args: string[]) {
  const inputStats: InputStats = { emptyLines: 0 };
  const texts = source(flags, args, inputStats, context.signal);
  const cache = await openCache(context);
  const embedder = await openEmbedder(context, flags);
  const form = flags.output ?? (flags.jsonl ? "jsonl" : "json");
  const writer = vectorWriter(form, context.out, embedder.identity.dimensions);
  const bar = progressBar(context.out, "Embedding", args.length, "texts");
  const totals = { texts: 0, hits: 0, misses: 0, healed: 0, truncated: 0 };
  const startedMs = performance.now();
  const middle = context.config.get("cache.compact_threshold") *
    COMPACT_MIDDLE_THRESHOLDS;
  let loose = 0;
  try {
    for await (const batch of batches(texts)) {
      context.signal.throwIfAborted();
      const result = await cache.getOrEmbed(batch.map(({ text }) => text), embedder, {
        signal: context.signal,
      });
      totals.texts += batch.length;
      totals.hits += result.memoryHits + result.diskHits + result.duplicates;
      totals.misses += result.misses;
      totals.healed += result.healed;
      totals.truncated += result.truncated;
      writer.write(batch, result.matrix);
      bar.update(totals.texts);
      loose += result.misses;
      if (loose < Math.max(middle, COMPACT_CHECK_MISSES)) continue;
      compactWhenDue(context, cache, loose);
      loose = 0;
    }
  } finally {
    bar.stop();
  }
  const elapsedMs = performance.now() - startedMs;
  writer.end({
    ...totals,
    empty_lines: inputStats.emptyLines,
    elapsed_ms: elapsedMs,
    model: embedder.identity.name,
  });
  compactWhenDue(context, cache, totals.misses);
  report(context, totals, inputStats.emptyLines, elapsedMs);
}

/** Loose files are only counted after so many new ones: counting reads the folder. */
const COMPACT_CHECK_MISSES = 1000;
/**
 * In the middle it happens at so many times the threshold: a compaction holds a row of each
 * loose file in memory, and the input may never end.
 */
const COMPACT_MIDDLE_THRESHOLDS = 10;

/** A long embed leaves its vectors in packs. Interrupted here, all of them are safe. */
function compactWhenDue(
  { config, out, signal }: Context,
  cache: EmbeddingCache,
  misses: number,
): void {
  if (misses < COMPACT_CHECK_MISSES) return;
  const threshold = config.get("cache.compact_threshold");
  const bar = progressBar(out, "Compacting", 0, "vectors");
  try {
    const progress = (done: number, total: number) => bar.update(done, total);
    const report = atOnce(cache.compactingIfDue({ signal, progress }, threshold));
    if (report) out.note(`${report.packed} vectors moved into a pack`);
  } finally {
    bar.stop();
  }
}

/** Where the texts come from; exactly one place. */
function source(
  flags: EmbedFlags,
  args: readonly string[],
  stats: InputStats,
  signal: AbortSignal,
): AsyncIterable<InputText> | Iterable<InputText> {
  if (args.length > 0 && flags.file !== undefined) {
    throw new InputError("usage", "Cannot take texts from arguments and --file at once", {
      hint: "give one of the two",
    });
  }
  if (args.length > 0) return textsOfArguments(args);
  if (flags.file === undefined && Deno.stdin.isTerminal()) {
    throw new InputError("usage", "No text given", {
      hint: 'op-dbus embed "some text", or --file FILE, or pipe lines in',
    });
  }
  return textsOfFile(flags.file ?? "-", flags.jsonl ?? false, stats, signal);
}

async function* batches(
  texts: AsyncIterable<InputText> | Iterable<InputText>,
): AsyncGenerator<InputText[]> {
  let batch: InputText[] = [];
  let chars = 0;
  for await (const text of texts) {
    batch.push(text);
    chars += text.text.length;
    if (batch.length < BATCH_TEXTS && chars < BATCH_CHARS) continue;
    yield batch;
    [batch, chars] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}

interface Totals {
  readonly texts: number;
  readonly hits: number;
  readonly misses: number;
  readonly healed: number;
  readonly truncated: number;
}

function report({ out }: Context, totals: Totals, emptyLines: number, elapsedMs: number) {
  const { texts, hits, misses, healed, truncated } = totals;
  if (texts === 0) return out.warn("no texts in the input: nothing was embedded");
  const each = (elapsedMs / texts).toFixed(3);
  out.note(`${texts} texts: ${hits} hits, ${misses} misses, ${each} ms per text`);
  if (healed > 0) out.warn(`${healed} damaged entries were computed again`);
  if (truncated > 0) out.warn(`${truncated} texts were cut at the model's limit`);
  if (emptyLines > 0) out.note(`${emptyLines} empty lines were left out`);
}
