/**
 * What the figures of benches ought to be, by row, where the bench itself does not say
 * (`wanted`): the project's own aims, met or not.
 */
import type { Row, Target } from "./bench_kit.ts";

const START = "starting Deno alone takes longer than the peer's whole run";
const ratio = (most: number, why?: string): Target => ({
  most,
  of: "ratio",
  ...(why && { why }),
});

const TARGETS: Readonly<Record<string, Target>> = {
  "chain-isolation/chain": { least: 95 },
  "chain-verify": { least: 100_000 },
  "file/first-run": { most: 2500 },
  "file/version": ratio(1.3),
  "file/version-peak-memory": { most: 60 },
  "onnx-cold/fp32": ratio(1),
  "onnx-cold/int8": ratio(1),
  "onnx-hit/fp32-getOrEmbed": ratio(0.001),
  "onnx-hit/int8-getOrEmbed": ratio(0.001),
  "onnx-throughput/fp32": { least: 2.5, of: "ratio" },
  "onnx-throughput/int8": { least: 2.5, of: "ratio" },
  "plugin-activate": { most: 20 },
  "plugin-install/process": ratio(2, START),
  "plugin-list/200-above-start": { most: 60 },
  "serve-cached/16-connections": { least: 10_000 },
  "serve-cached/16-connections/p99": { most: 10 },
  "serve-overload/other-answers": { most: 0 },
  "serve-ready/1000000-entries": { most: 300 },
  "snapshot/create": ratio(0.5),
  "snapshot/delete": ratio(0.5),
  "snapshot/list_10000": { most: 300 },
  "snapshot/rotate": ratio(2, START),
  "snapshot/send_1_percent": ratio(0.1),
  "snapshot/send_200mb": ratio(1),
  "snapshot/send_200mb_unsynced": ratio(1),
  "state-apply/nothing": { most: 150 },
  "state-read/diff-cached": { most: 5 },
  "stream-audit": { least: 500 },
  "stream-audit/with-digest": { least: 500 },
  "stream-memory/600-MB": { most: 64 },
  "stream-pack-1000": { most: 100 },
  "stream-receive-large": ratio(1.3),
  "stream-receive-large/synced": ratio(1.3),
  "stream-receive-small": ratio(1.3),
  "stream-receive-small/synced": ratio(1.3),
};

/** As fast as the peer, within what one run to the next differs. */
const ENGINES: Target = ratio(1.05);

/** The row with its target, where there is one. */
export function withTarget(row: Row): Row {
  const target = row.target ?? TARGETS[row.name] ??
    (row.name.startsWith("onnx-run/") ? ENGINES : undefined);
  return target ? { ...row, target } : row;
}
