/** Files that run a rotation regularly: a systemd service and timer, or a cron.d line. */
import { InputError, OpError } from "../base/errors.ts";
import { writeDurably } from "../base/durable.ts";
import { isSysError } from "../../ffi/errno.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { asOpError } from "../base/errors.ts";
import { formatDuration } from "../base/units.ts";

/** What is to run, and how often. */
export interface TimerSpec {
  readonly kind: "systemd" | "cron";
  readonly everyMs: number;
  /** Absolute path of op-dbus, and its arguments. */
  readonly command: readonly string[];
  /** Name of the files: `op-dbus-snapshot`. */
  readonly name: string;
  /** What it does, one line. */
  readonly about: string;
}

/** One file to write. */
export interface TimerFile {
  readonly name: string;
  readonly text: string;
}

const MINUTE_MS = 60_000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS;
const WEEK_MS = 7 * DAY_MS;

/** An interval as a calendar of systemd and of cron, which agree on when it is. */
interface Calendar {
  readonly systemd: string;
  readonly cron: string;
}

/**
 * @throws {InputError} `bad_interval` for what does not divide an hour, a day, or is not a
 *   day or a week: a calendar cannot say it evenly
 */
function calendarOf(everyMs: number): Calendar {
  const minutes = everyMs / MINUTE_MS, hours = everyMs / HOUR_MS;
  if (Number.isInteger(minutes) && minutes >= 1 && minutes < 60 && 60 % minutes === 0) {
    return {
      systemd: `*-*-* *:0/${minutes}:00`,
      cron: minutes === 1 ? "* * * * *" : `*/${minutes} * * * *`,
    };
  }
  if (Number.isInteger(hours) && hours >= 1 && hours < 24 && 24 % hours === 0) {
    const systemd = hours === 1 ? "*-*-* *:00:00" : `*-*-* 0/${hours}:00:00`;
    return { systemd, cron: hours === 1 ? "0 * * * *" : `0 */${hours} * * *` };
  }
  if (everyMs === DAY_MS) return { systemd: "*-*-* 00:00:00", cron: "0 0 * * *" };
  if (everyMs === WEEK_MS) return { systemd: "Mon *-*-* 00:00:00", cron: "0 0 * * 1" };
  throw new InputError(
    "bad_interval",
    `Cannot run every ${formatDuration(everyMs)}: no calendar says that evenly`,
    { hint: "take minutes that divide an hour, hours that divide a day, 1d or 1w" },
  );
}

/** One word of ExecStart=, quoted as systemd.service(5) and systemd.syntax(7) say. */
function systemdQuote(word: string): string {
  const escaped = word.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_@+=:,./-]+$/.test(word) ? word : `"${escaped}"`;
}

/** One word for cron's shell; cron itself takes a `%` for a line end. */
function cronQuote(word: string): string {
  const quoted = /^[A-Za-z0-9_@+=:,./-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
  return quoted.replaceAll("%", "\\%");
}

/**
 * The files' content; writes nothing.
 *
 * @throws {InputError} `bad_interval`; `bad_command` when the program is no absolute path
 */
export function timerFiles(spec: TimerSpec): TimerFile[] {
  const calendar = calendarOf(spec.everyMs);
  if (!spec.command[0]?.startsWith("/") || spec.command.some((w) => /\p{Cc}/u.test(w))) {
    throw new InputError("bad_command", "Cannot run it from a timer: no absolute path", {
      hint: "run install-timer by the path of the op-dbus executable",
    });
  }
  return spec.kind === "cron"
    ? [cronFile(spec, calendar.cron)]
    : [serviceFile(spec), timerFile(spec, calendar.systemd)];
}

function cronFile({ name, about, command }: TimerSpec, when: string): TimerFile {
  const text = [
    `# ${about}. Written by op-dbus snapshot install-timer.`,
    "SHELL=/bin/sh",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    `${when} root ${command.map(cronQuote).join(" ")}`,
    "",
  ].join("\n");
  return { name, text }; // cron.d passes over names with a dot
}

function serviceFile({ name, about, command }: TimerSpec): TimerFile {
  const text = [
    "# Written by op-dbus snapshot install-timer.",
    "[Unit]",
    `Description=${about}`,
    "",
    "[Service]",
    "Type=oneshot",
    `ExecStart=${command.map(systemdQuote).join(" ")}`,
    "Nice=10",
    "IOSchedulingClass=idle",
    // Not ProtectHome=, nor PrivateTmp=: a target's snapshots, or a replica, may lie there.
    "NoNewPrivileges=yes",
    "RestrictRealtime=yes",
    "",
  ].join("\n");
  return { name: `${name}.service`, text };
}

function timerFile({ name, about }: TimerSpec, when: string): TimerFile {
  const text = [
    "# Written by op-dbus snapshot install-timer.",
    "[Unit]",
    `Description=${about}, regularly`,
    "",
    "[Timer]",
    `OnCalendar=${when} UTC`,
    "Persistent=yes",
    "AccuracySec=30s",
    `Unit=${name}.service`,
    "",
    "[Install]",
    "WantedBy=timers.target",
    "",
  ].join("\n");
  return { name: `${name}.timer`, text };
}

/** Where the files go on a host. */
export const TIMER_FOLDERS = {
  systemd: "/etc/systemd/system",
  cron: "/etc/cron.d",
} as const;

/** First words of what this program writes: only such files are replaced. */
const MARK = "Written by op-dbus snapshot install-timer.";

/**
 * Writes the files, durably.
 *
 * @param folder a folder of {@link TIMER_FOLDERS}, which must exist
 * @returns the paths that were written; those that had this content already are left out
 * @throws {OpError} `foreign_file` when a file of that name is not ours
 */
export function writeTimer(files: readonly TimerFile[], folder: string): string[] {
  const due = files.filter(({ name, text }) => {
    const there = contentOf(`${folder}/${name}`);
    if (there !== null && !there.includes(MARK)) {
      throw new OpError("foreign_file", `Cannot write ${folder}/${name}: not ours`, {
        hint: "move it away, or print the files with --print and place them yourself",
      });
    }
    return there !== text;
  });
  try {
    for (const { name, text } of due) {
      writeDurably(`${folder}/${name}`, new TextEncoder().encode(text));
    }
  } catch (error) {
    throw asOpError(error, `Cannot write the timer into ${folder}`);
  }
  return due.map(({ name }) => `${folder}/${name}`);
}

function contentOf(path: string): string | null {
  try {
    return readTextFile(path, 64 * 1024);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw asOpError(error, `Cannot read ${path}`);
  }
}
