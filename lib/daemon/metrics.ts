/**
 * Counts and times in the Prometheus text format.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats (0.0.4).
 */

type Labels = Readonly<Record<string, string>>;

/** Upper bounds of latency buckets, seconds: 0.1 ms to 10 s. */
const LATENCY_BUCKETS_S = [
  0.0001,
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  10,
];
/** Label sets of one metric; more are a defect that would eat memory. */
const SERIES_LIMIT = 1000;

/** The text of a label set. */
function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/[\\"\n]/g, (c) => c === "\n" ? "\\n" : `\\${c}`)}"`
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function keyOf(labels: Labels): string {
  let key = "";
  for (const name in labels) key += `${labels[name]}\n`;
  return key;
}

/** A number that only grows. */
export class Counter {
  /** By the labels' values: writing their text on every count would cost more. */
  readonly #series = new Map<string, { labels: Labels; value: number }>();

  constructor(readonly name: string, readonly help: string) {}

  /** @param labels the same names in the same order on every call */
  add(count = 1, labels: Labels = {}): void {
    const key = keyOf(labels);
    const series = this.#series.get(key);
    if (series) series.value += count;
    else if (this.#series.size < SERIES_LIMIT) {
      this.#series.set(key, { labels, value: count });
    }
  }

  get(labels: Labels = {}): number {
    return this.#series.get(keyOf(labels))?.value ?? 0;
  }

  text(): string {
    const values = [...this.#series.values()];
    return counterText(
      this.name,
      this.help,
      values.map(({ labels, value }) => [labels, value] as const),
    );
  }
}

/** How long things took. */
export class Latency {
  readonly #series = new Map<string, { buckets: number[]; sum: number; count: number }>();

  /** @param labelName what the label says: `route`, `layer` */
  constructor(
    readonly name: string,
    readonly help: string,
    readonly labelName: string,
  ) {}

  observe(seconds: number, label = ""): void {
    let series = this.#series.get(label);
    if (!series) {
      if (this.#series.size >= SERIES_LIMIT) return;
      series = { buckets: LATENCY_BUCKETS_S.map(() => 0), sum: 0, count: 0 };
      this.#series.set(label, series);
    }
    const at = LATENCY_BUCKETS_S.findIndex((bound) => seconds <= bound);
    if (at !== -1) series.buckets[at]!++;
    series.sum += seconds;
    series.count++;
  }

  /** The bucket bound under which this share of the observations lies; seconds. */
  quantile(share: number, label = ""): number | null {
    const series = this.#series.get(label);
    if (!series || series.count === 0) return null;
    let seen = 0;
    for (const [at, bound] of LATENCY_BUCKETS_S.entries()) {
      seen += series.buckets[at]!;
      if (seen >= share * series.count) return bound;
    }
    return Infinity;
  }

  /** How many were observed. */
  count(label = ""): number {
    return this.#series.get(label)?.count ?? 0;
  }

  get labels(): string[] {
    return [...this.#series.keys()];
  }

  text(): string {
    const lines: string[] = [];
    for (const [label, { buckets, sum, count }] of this.#series) {
      const own: Labels = label === "" ? {} : { [this.labelName]: label };
      let seen = 0;
      for (const [at, bound] of LATENCY_BUCKETS_S.entries()) {
        seen += buckets[at]!;
        lines.push(
          `${this.name}_bucket${labelText({ ...own, le: String(bound) })} ${seen}`,
        );
      }
      lines.push(`${this.name}_bucket${labelText({ ...own, le: "+Inf" })} ${count}`);
      lines.push(`${this.name}_sum${labelText(own)} ${sum}`);
      lines.push(`${this.name}_count${labelText(own)} ${count}`);
    }
    return metricText(this.name, this.help, "histogram", lines);
  }
}

type Values = readonly (readonly [Labels, number])[];

/** A gauge that is read when somebody asks. */
export function gaugeText(name: string, help: string, values: Values): string {
  return metricText(name, help, "gauge", valueLines(name, values));
}

/** The same for what only grows, counted elsewhere. */
export function counterText(name: string, help: string, values: Values): string {
  return metricText(name, help, "counter", valueLines(name, values));
}

function valueLines(name: string, values: Values): string[] {
  return values.map(([labels, value]) => `${name}${labelText(labels)} ${value}`);
}

function metricText(name: string, help: string, type: string, lines: string[]): string {
  if (lines.length === 0) return "";
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("\n")}\n`;
}
