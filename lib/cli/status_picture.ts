/** What `status` shows of the picture that a service gives of itself (overview.ts). */
import * as v from "valibot";

const count = () => v.pipe(v.number(), v.finite(), v.minValue(0));
const time = () => v.pipe(v.number(), v.finite());

/** Loose: a newer service tells more, and `--json` passes all of it on. */
const PictureSchema = v.looseObject({
  version: v.string(),
  root: v.string(),
  started: time(),
  now: time(),
  pid: count(),
  models: v.array(v.string()),
  cache: v.looseObject({
    entries: count(),
    vector_bytes: count(),
    counts: v.looseObject({ memory: count(), disk: count(), model: count() }),
  }),
  plugins: v.array(v.looseObject({ name: v.string() })),
  chain: v.looseObject({ size: count(), problem: v.nullable(v.string()) }),
  jobs: v.array(v.looseObject({
    name: v.string(),
    everyMs: count(),
    lastMs: v.nullable(time()),
    error: v.nullable(v.string()),
  })),
});

export type Picture = v.InferOutput<typeof PictureSchema>;

/** A picture from an answer's text; null where no op-dbus wrote it. */
export function readPicture(text: string): Picture | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  const read = v.safeParse(PictureSchema, value);
  return read.success ? read.output : null;
}
