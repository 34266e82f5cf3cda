/**
 * Calendar periods in UTC, so that no clock change makes one longer or shorter. Weeks are
 * those of ISO 8601: Monday to Sunday.
 */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** 1970-01-01 was a Thursday: three days after a Monday. */
const MONDAY_OFFSET_DAYS = 3;

/** One kind of period. */
export interface Period {
  /** `hourly`: keep_hourly and keep_within_hourly go by it. */
  readonly name: "hourly" | "daily" | "weekly" | "monthly" | "quarterly" | "yearly";
  /** A number that all times of one period share, and no other time has. */
  of(timeMs: number): number;
  /** The period for people: `2025-01-15 10h`, `2025-01-15`, `2025-Q1`. */
  label(timeMs: number): string;
}

const day = (timeMs: number) => new Date(timeMs).toISOString().slice(0, 10);
const months = (timeMs: number) => {
  const at = new Date(timeMs);
  return at.getUTCFullYear() * 12 + at.getUTCMonth();
};
const week = (timeMs: number) =>
  Math.floor((Math.floor(timeMs / DAY_MS) + MONDAY_OFFSET_DAYS) / 7);

/** The periods, shortest first. */
export const PERIODS: readonly Period[] = [
  {
    name: "hourly",
    of: (timeMs) => Math.floor(timeMs / HOUR_MS),
    label: (timeMs) => `${day(timeMs)} ${new Date(timeMs).toISOString().slice(11, 13)}h`,
  },
  { name: "daily", of: (timeMs) => Math.floor(timeMs / DAY_MS), label: day },
  {
    name: "weekly",
    of: week,
    label: (timeMs) => `week of ${day((week(timeMs) * 7 - MONDAY_OFFSET_DAYS) * DAY_MS)}`,
  },
  { name: "monthly", of: months, label: (timeMs) => day(timeMs).slice(0, 7) },
  {
    name: "quarterly",
    of: (timeMs) => Math.floor(months(timeMs) / 3),
    label: (timeMs) => {
      const quarter = Math.floor(new Date(timeMs).getUTCMonth() / 3) + 1;
      return `${day(timeMs).slice(0, 4)}-Q${quarter}`;
    },
  },
  {
    name: "yearly",
    of: (timeMs) => Math.floor(months(timeMs) / 12),
    label: (timeMs) => day(timeMs).slice(0, 4),
  },
];
