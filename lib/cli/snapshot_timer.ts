/** op-dbus snapshot install-timer */
import { InputError } from "../base/errors.ts";
import { command } from "./command.ts";
import { confirm } from "./confirm.ts";
import { argument, durationFlag, textFlag, toggle, YES } from "./flags.ts";

interface TimerFlags {
  readonly systemd?: boolean;
  readonly cron?: boolean;
  readonly every?: number;
  readonly replicate?: boolean;
  readonly print?: boolean;
  readonly exe?: string;
  readonly into?: string;
  readonly yes?: boolean;
}

const HOUR_MS = 3_600_000;

/** `op-dbus snapshot install-timer` */
export const installTimer = command<TimerFlags, string[]>({
  brief: "Rotate regularly: write a systemd timer, or a cron.d line",
  description: "The files are shown first; --print shows them and writes nothing.",
  examples: [
    "op-dbus snapshot install-timer --print",
    "op-dbus snapshot install-timer --cron --every 1h cache state --yes",
  ],
  flags: {
    systemd: toggle("A service and a timer for systemd (the default)"),
    cron: toggle("A line for cron instead"),
    every: durationFlag("How often (default 1h)"),
    replicate: toggle("Replicate instead of rotate"),
    print: toggle("Only show what would be written"),
    exe: textFlag("Path of the op-dbus executable", "FILE"),
    into: textFlag("Folder to write into (default: that of systemd or cron)", "DIR"),
    yes: YES,
  },
  positional: {
    kind: "array",
    parameter: argument("What to rotate (default: snapshot.default_targets)", "TARGET"),
  },
  async run(context, flags, ...targets) {
    const { TIMER_FOLDERS, timerFiles, writeTimer } = await import(
      "../snapshot/timer.ts"
    );
    const { findTarget } = await import("../snapshot/target.ts");
    if (flags.systemd && flags.cron) {
      throw new InputError("usage", "Cannot write for systemd and cron at once");
    }
    for (const name of targets) findTarget(context.layout, context.config, name);
    const kind = flags.cron ? "cron" : "systemd",
      verb = flags.replicate ? "replicate" : "rotate";
    const files = timerFiles({
      kind,
      everyMs: flags.every ?? HOUR_MS,
      command: [
        ...executable(flags.exe),
        ...["--root", context.layout.root],
        ...configFlag(context.flags.config),
        ...["snapshot", verb, "--quiet", ...targets],
      ],
      name: timerName(flags.replicate ?? false, targets),
      about: `op-dbus: ${verb} snapshots${
        targets.length > 0 ? ` of ${targets.join(", ")}` : ""
      }`,
    });
    const folder = flags.into ?? TIMER_FOLDERS[kind];
    const shown = files.map(({ name, text }) => `# ${folder}/${name}\n${text}`).join(
      "\n",
    );
    if (flags.print) {
      return context.out.result({ files, written: [] }, () => shown.trimEnd());
    }
    context.out.note(shown);
    await confirm(
      context,
      `Write ${files.length} files into ${folder}`,
      flags.yes ?? false,
    );
    const written = writeTimer(files, folder);
    const next = kind === "systemd"
      ? `\nStart it: systemctl daemon-reload && systemctl enable --now ${files[1]!.name}`
      : "";
    context.out.result(
      { files, written },
      () =>
        written.length === 0 ? "Nothing to change" : `Wrote ${written.join(", ")}${next}`,
    );
  },
});

/** One for each thing to do: a timer that replicates does not replace one that rotates. */
function timerName(replicate: boolean, targets: readonly string[]): string {
  const what = replicate ? "replicate" : "snapshot";
  return ["op-dbus", what, ...targets].join("-").replaceAll(".", "_");
}

/** The configuration of this run: a timer has neither its folder nor its environment. */
function configFlag(given: string | undefined): string[] {
  const file = given ?? Deno.env.get("OPDBUS_CONFIG") ?? "";
  if (file === "") return [];
  return ["--config", file.startsWith("/") ? file : `${Deno.cwd()}/${file}`];
}

/** The command that a timer runs. */
function executable(given: string | undefined): string[] {
  const path = given ?? Deno.env.get("OPDBUS_EXE") ?? Deno.execPath();
  if (path.startsWith("/") && !/\/deno$/.test(path)) return [path];
  throw new InputError("no_executable", "Cannot tell where the op-dbus executable is", {
    hint: "name it: --exe /usr/local/bin/op-dbus",
  });
}
