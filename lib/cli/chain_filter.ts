/** The flags that choose blocks. */
import type { BlockFilter } from "../chain/search.ts";
import { InputError } from "../base/errors.ts";
import { parseDuration } from "../base/units.ts";
import { textFlag } from "./flags.ts";

export interface FilterFlags {
  readonly category?: string;
  readonly action?: string;
  readonly what?: string;
  readonly who?: string;
  readonly since?: Date;
  readonly until?: Date;
  readonly range?: string;
}

function timeFlag(brief: string) {
  return {
    kind: "parsed",
    parse: parseTime,
    brief,
    placeholder: "TIME",
    optional: true,
  } as const;
}

/** `2025-01-15`, `2025-01-15T10:00`, or a duration ago: `7d`. */
export function parseTime(text: string): Date {
  if (/^\d{4}-/.test(text)) {
    const time = new Date(
      /T/.test(text) && !/Z|[+-]\d\d:?\d\d$/.test(text) ? text + "Z" : text,
    );
    if (!Number.isNaN(time.getTime())) return time;
  } else {
    return new Date(Date.now() - parseDuration(text));
  }
  throw new InputError("usage", `${JSON.stringify(text)} is not a time`, {
    hint: "write it as 2025-01-15, 2025-01-15T10:00 (UTC), or 7d for seven days ago",
  });
}

export const FILTER_FLAGS = {
  category: textFlag("Only this category: plugin, state, snapshot, ...", "NAME"),
  action: textFlag("Only this action: install, apply, ...", "NAME"),
  what: textFlag("Only what has this in its name", "TEXT"),
  who: textFlag("Only changes by this account", "NAME"),
  since: timeFlag("Not before: 2025-01-15, 2025-01-15T10:00, or 7d for days ago"),
  until: timeFlag("Before that time"),
  range: textFlag("Block numbers: 5..9, 5.. or ..9", "RANGE"),
};

export async function filterOf({ range, ...rest }: FilterFlags): Promise<BlockFilter> {
  const { category, action, what, who, since, until } = rest;
  const { parseRange } = await import("../chain/search.ts");
  return {
    ...(category !== undefined && { category }),
    ...(action !== undefined && { action }),
    ...(what !== undefined && { what }),
    ...(who !== undefined && { who }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
    ...(range !== undefined && parseRange(range)),
  };
}
