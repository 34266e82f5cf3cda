/** Flags and arguments that several commands share. */
import { InputError } from "../base/errors.ts";
import { parseDuration, parseSize } from "../base/units.ts";

/** `--yes` for a command that would ask. */
export const YES = {
  kind: "boolean",
  brief: "Do not ask",
  optional: true,
  withNegated: false,
} as const;

/** `--dry-run` for a command that changes something. */
export const DRY_RUN = {
  kind: "boolean",
  brief: "Say what would be done, and do nothing",
  optional: true,
  withNegated: false,
} as const;

/** A boolean flag that is off unless given. */
export function toggle(brief: string) {
  return { kind: "boolean", brief, optional: true, withNegated: false } as const;
}

/** A flag with a text value. */
export function textFlag(brief: string, placeholder: string) {
  return {
    kind: "parsed",
    parse: (text: string) => text,
    brief,
    placeholder,
    optional: true,
  } as const;
}

/** A flag with a whole number. */
export function countFlag(brief: string, placeholder = "N", minimum = 0) {
  return {
    kind: "parsed",
    parse: (text: string) => parseCount(text, minimum),
    brief,
    placeholder,
    optional: true,
  } as const;
}

/** A flag with a duration, in milliseconds: `90d`. */
export function durationFlag(brief: string) {
  return {
    kind: "parsed",
    parse: parseDuration,
    brief,
    placeholder: "DURATION",
    optional: true,
  } as const;
}

/** A flag with a size, in bytes: `2G`. */
export function sizeFlag(brief: string) {
  return {
    kind: "parsed",
    parse: parseSize,
    brief,
    placeholder: "SIZE",
    optional: true,
  } as const;
}

/** One positional argument of text. */
export function argument(brief: string, placeholder: string) {
  return { brief, placeholder, parse: (text: string) => text } as const;
}

function parseCount(text: string, minimum: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (!(value >= minimum)) {
    const what = `a whole number of at least ${minimum}`;
    throw new InputError("usage", `${JSON.stringify(text)} is not ${what}`);
  }
  return value;
}
