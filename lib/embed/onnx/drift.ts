/**
 * Drift: how far vectors computed now are from those computed before (another engine,
 * another version, another CPU).
 */

/** What a comparison found. */
export interface DriftReport {
  readonly compared: number;
  /** 1 means identical directions. */
  readonly lowestCosine: number;
  readonly meanCosine: number;
  /** Largest difference of two corresponding numbers. */
  readonly largestDifference: number;
  /** Rows whose cosine is below the tolerance, worst first. */
  readonly drifted: readonly { readonly row: number; readonly cosine: number }[];
}

/** Cosine that the same text reaches on every engine, for fp32 models. */
export const SAME_VECTOR_COSINE = 0.99999;

/**
 * Compares two matrices row by row. Zero vectors are alike only to each other.
 *
 * @param before row-major, as stored
 * @param now row-major, computed again
 * @param dimensions numbers per row
 * @param tolerance rows below this cosine count as drifted; a lossy codec needs less
 * @throws {RangeError} when the matrices differ in size
 */
export function measureDrift(
  before: Float32Array,
  now: Float32Array,
  dimensions: number,
  tolerance: number = SAME_VECTOR_COSINE,
): DriftReport {
  if (before.length !== now.length || before.length % dimensions !== 0) {
    throw new RangeError(`Matrices of ${before.length} and ${now.length} numbers`);
  }
  const compared = before.length / dimensions;
  const drifted: { row: number; cosine: number }[] = [];
  let lowestCosine = 1, sum = 0, largestDifference = 0;
  for (let row = 0; row < compared; row++) {
    const from = row * dimensions, to = from + dimensions;
    const a = before.subarray(from, to), b = now.subarray(from, to);
    const value = cosine(a, b);
    for (let d = 0; d < dimensions; d++) {
      largestDifference = Math.max(largestDifference, Math.abs(a[d]! - b[d]!));
    }
    lowestCosine = Math.min(lowestCosine, value);
    sum += value;
    if (value < tolerance) drifted.push({ row, cosine: value });
  }
  drifted.sort((x, y) => x.cosine - y.cosine);
  const meanCosine = compared === 0 ? 1 : sum / compared;
  return { compared, lowestCosine, meanCosine, largestDifference, drifted };
}

/** Cosine of two vectors in double precision, at most 1. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  if (aa === 0 || bb === 0) return aa === bb ? 1 : 0;
  return Math.min(1, dot / Math.sqrt(aa * bb));
}
