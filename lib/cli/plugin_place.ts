/** What the commands about plugins share: the place they work in, and how they tell. */
import type { InstallContext, PlannedChange } from "../plugin/install.ts";
import type { Prepared } from "../plugin/activate.ts";
import type { Workplace } from "../plugin/transaction.ts";
import type { Context } from "./context.ts";
import { openRecorder } from "./open_chain.ts";
import { durationFlag, toggle } from "./flags.ts";

/** `--wait` of every command that takes the plugins' lock. */
export const WAIT = durationFlag("Wait this long for another op-dbus to finish");

/** `--ignore-requirements` of what makes a version live. */
export const IGNORE_REQUIREMENTS = toggle(
  "Also where this host lacks what a plugin needs",
);

/** Runs with the plugins' lock held; tells what an interrupted command left. */
export async function inWorkplace<T>(
  context: Context,
  waitMs: number | undefined,
  run: (place: Workplace) => Promise<T>,
): Promise<T> {
  const { withWorkplace } = await import("../plugin/workplace.ts");
  const recorder = await openRecorder(context);
  return await withWorkplace({
    layout: context.layout,
    recorder,
    signal: context.signal,
    ...(waitMs !== undefined && { waitMs }),
    recovered: ({ finished, cleaned }) => {
      for (const { op, name } of finished) {
        context.out.note(`Finished an interrupted ${op} of ${name}`);
      }
      if (cleaned.length > 0) {
        context.out.note(`Removed what was left unfinished: ${cleaned.join(", ")}`);
      }
    },
  }, run);
}

/** The user's keys and repositories. */
export async function openTrust(context: Context) {
  const [{ TrustStore }, { Repositories }] = await Promise.all([
    import("../plugin/trust_store.ts"),
    import("../plugin/repositories.ts"),
  ]);
  return {
    trust: new TrustStore(context.layout),
    repositories: new Repositories(context.layout),
  };
}

/**
 * Everything that an install imports, asked for at once: reading one module and compiling
 * another overlap, where each import on its way would wait for its own file.
 */
export async function importInstall() {
  const [install] = await Promise.all([
    import("../plugin/install.ts"),
    import("node:zlib"),
    import("../plugin/workplace.ts"),
    import("../chain/recorder.ts"),
    import("../plugin/trust_store.ts"),
    import("../plugin/repositories.ts"),
    import("../plugin/catalog.ts"),
    import("../plugin/requirements.ts"),
    import("../plugin/request.ts"),
    import("../stream/contents.ts"),
    import("../base/root.ts"),
    import("./confirm.ts"),
    import("./progress.ts"),
  ]);
  return install;
}

/** Flags of install and upgrade. */
export interface InstallFlags {
  readonly allowUnsigned?: boolean;
  readonly allowHttp?: boolean;
  readonly ignoreRequirements?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly wait?: number;
}

/** Everything that an install asks the command line for. */
export async function installContext(
  context: Context,
  flags: InstallFlags,
  show: (changes: readonly PlannedChange[]) => void,
  namesWanted = true,
): Promise<InstallContext> {
  const { trust, repositories } = await openTrust(context);
  const { Catalog } = await import("../plugin/catalog.ts");
  const { thisHost } = await import("../plugin/requirements.ts");
  const { confirm } = await import("./confirm.ts");
  const { progressBar, tellPauses } = await import("./progress.ts");
  const fetch = {
    signal: context.signal,
    waiting: tellPauses(context.out),
    ...(flags.allowHttp && { allowHttp: true }),
  };
  let what = "", bar: ReturnType<typeof progressBar> | undefined;
  const progress = (label: string, done: number, total: number, unit: string) => {
    if (label !== what) bar?.stop();
    if (label !== what) bar = progressBar(context.out, label, total, unit);
    what = label;
    bar?.update(done, total);
  };
  context.onClose(() => bar?.stop());
  return {
    layout: context.layout,
    trust,
    repositories,
    fetch: {
      ...fetch,
      onProgress: (done, total) => progress("Downloading", done, total ?? 0, "bytes"),
    },
    allowUnsigned: flags.allowUnsigned ?? false,
    signal: context.signal,
    note: (line) => context.out.warn(line),
    host: thisHost(),
    // A file can be installed while a repository is out of reach; a name cannot.
    catalog: await Catalog.load(
      repositories,
      trust,
      fetch,
      namesWanted
        ? undefined
        : (name, error) => context.out.warn(`${name} is left out: ${error.message}`),
    ),
    ...(flags.ignoreRequirements && { ignoreRequirements: true }),
    planned: (changes) => {
      if (flags.dryRun) show(changes);
      return !flags.dryRun;
    },
    agree: async (changes) => {
      bar?.stop();
      for (const line of await powerLines(changes)) context.out.note(line);
      const question = changes.map(({ action, name, from, to }) =>
        action === "install"
          ? `install ${name}@${to}`
          : `${action} ${name} ${from} to ${to}`
      ).join(", ");
      await confirm(context, capital(question), flags.yes ?? false);
    },
    progress: (label, done, total) => progress(label, done, total, "bytes"),
  };
}

/** What each new package may do, and who signed it. */
async function powerLines(changes: readonly PlannedChange[]): Promise<string[]> {
  const { powersOf } = await import("../plugin/package.ts");
  return changes.flatMap(({ name, to, package: one }) => {
    if (!one) return [`${name}@${to}: is here already`];
    const { busNames, unsafeMethods, safeMethods } = powersOf(one.content.mapping);
    const shown = unsafeMethods.slice(0, 12).join(", ") +
      (unsafeMethods.length > 12 ? `, and ${unsafeMethods.length - 12} more` : "");
    return [
      `${name}@${to}: ${one.signedBy ? `signed by ${one.signedBy}` : "NOT SIGNED"}, ` +
      `from ${one.source}`,
      `  talks to: ${busNames.join(", ") || "no D-Bus service"}`,
      `  may change: ${shown || "nothing"} (${safeMethods} methods only read)`,
    ];
  });
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** A plan as JSON. */
export function changeJson({ name, from, to, action, candidate }: PlannedChange) {
  const { origin } = candidate;
  return {
    name,
    from,
    to,
    action,
    source: origin.kind === "repository"
      ? `repository ${origin.repository.name}`
      : origin.kind === "package"
      ? origin.package.source
      : "live",
    size_bytes: origin.kind === "repository"
      ? origin.entry.size
      : origin.kind === "package"
      ? origin.package.digests.sizeBytes
      : 0,
  };
}

/** A plan as a line. */
export function changeLine({ name, from, to, action }: PlannedChange): string {
  return from === null ? `${action} ${name} ${to}` : `${action} ${name} ${from} -> ${to}`;
}

/** What the merge did to the user's files, told on standard error. */
export function tellMerge(context: Context, name: string, { report }: Prepared): void {
  for (const { path, shipped } of report.conflicts) {
    context.out.warn(`${name}: ${path} was changed by both: yours stays, see ${shipped}`);
  }
  if (report.abandoned.length > 0) {
    const paths = report.abandoned.slice(0, 8).join(", ");
    const more = report.abandoned.length > 8 ? ", ..." : "";
    context.out.warn(
      `${name}: changes outside state/ and the listed configuration are not carried ` +
        `over, but kept in @previous-${name}: ${paths}${more}`,
    );
  }
  if (report.kept.length > 0) {
    context.out.debug(`${name}: kept ${report.kept.join(", ")}`);
  }
}

/** The merge as JSON. */
export function mergeJson({ report }: Prepared) {
  return { kept: report.kept, conflicts: report.conflicts, abandoned: report.abandoned };
}
