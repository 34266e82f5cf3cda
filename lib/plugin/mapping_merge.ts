/**
 * Generating again without losing a person's work: table by table, what was generated
 * before (base), what stands in the file (mine) and what is generated now (new).
 */
import { type Block, joinBlocks, splitBlocks } from "./mapping_write.ts";

/** What became of the tables. */
export interface MergeReport {
  /** New in the service. */
  readonly added: readonly string[];
  /** Changed in the service, and taken over. */
  readonly updated: readonly string[];
  /** Gone from the service, and removed. */
  readonly removed: readonly string[];
  /** Edited by a person: kept as they are. */
  readonly kept: readonly string[];
  /** Edited by a person, while the service changed or lost them: look at these. */
  readonly conflicts: readonly string[];
}

/**
 * Merges.
 *
 * @param base what was generated into the file before; null: unknown, so all is a person's
 * @param mine the file's text
 * @param generated the tables as they would be generated now
 */
export function mergeMapping(
  base: string | null,
  mine: string,
  generated: readonly Block[],
): { text: string; report: MergeReport } {
  const old = byName(base === null ? [] : splitBlocks(base).blocks);
  const now = byName(generated);
  const { preamble, blocks } = splitBlocks(mine);
  const result: Block[] = [];
  const report = {
    added: [] as string[],
    updated: [] as string[],
    removed: [] as string[],
    kept: [] as string[],
    conflicts: [] as string[],
  };
  for (const block of blocks) {
    const { name } = block;
    const before = old.get(name), fresh = now.get(name);
    const isEdited = before === undefined || !same(before, block.text);
    if (!isEdited) {
      if (fresh === undefined) report.removed.push(name);
      else {
        if (!same(fresh, before)) report.updated.push(name);
        result.push({ name, text: fresh });
      }
      continue;
    }
    result.push(block);
    const wasGenerated = before !== undefined;
    const serviceChanged = wasGenerated && (fresh === undefined || !same(fresh, before));
    if (serviceChanged) report.conflicts.push(name);
    else report.kept.push(name);
  }
  const present = new Set(blocks.map(({ name }) => name));
  for (const block of generated) {
    if (present.has(block.name)) continue;
    // Generated before and not there any more: a person took it out.
    if (old.has(block.name)) report.kept.push(block.name);
    else {
      report.added.push(block.name);
      result.push(block);
    }
  }
  return { text: joinBlocks(preamble, result), report };
}

function byName(blocks: readonly Block[]): Map<string, string> {
  return new Map(blocks.map(({ name, text }) => [name, text]));
}

function same(a: string, b: string): boolean {
  return a.trim() === b.trim();
}
