/** op-dbus self */
import { InputError } from "../base/errors.ts";
import { RELEASE_KEY, RELEASE_URL, VERSION } from "../base/version.ts";
import { command, group } from "./command.ts";
import type { Context } from "./context.ts";
import { textFlag, toggle } from "./flags.ts";
import { progressBar, tellPauses } from "./progress.ts";

interface UpdateFlags {
  readonly check?: boolean;
  readonly from?: string;
  readonly key?: string;
  readonly allowHttp?: boolean;
}

const update = command<UpdateFlags>({
  brief: "Replace this executable by a newer one",
  description:
    "Downloads the release, verifies its signature and digest, starts the new\n" +
    "file once, and exchanges the two in one step. The present one is kept beside it as\n" +
    "op-dbus.previous. With --check it only says whether there is a newer one (exit\n" +
    "code 0 either way; `update_available` with --json).",
  examples: ["op-dbus self update --check", "op-dbus self update"],
  flags: {
    check: toggle("Say whether there is a newer one, and do nothing"),
    from: textFlag("Where the release lies (default: update.url)", "URL"),
    key: textFlag("minisign public key that must have signed it (update.key)", "KEY"),
    allowHttp: toggle("Take it over plain http too: the signature protects it"),
  },
  run: runUpdate,
});

async function runUpdate(context: Context, flags: UpdateFlags) {
  const { fetchRelease, isNewer } = await import("../update/release.ts");
  const source = {
    url: setting(flags.from ?? context.config.get("update.url"), RELEASE_URL, "--from"),
    key: setting(flags.key ?? context.config.get("update.key"), RELEASE_KEY, "--key"),
    ...(flags.allowHttp && { allowHttp: true }),
  };
  const options = { signal: context.signal, waiting: tellPauses(context.out) };
  const release = await fetchRelease(source, Deno.build.arch, options);
  const newer = isNewer(release, VERSION);
  const facts = { current: VERSION, available: release.version, update_available: newer };
  if (!newer || flags.check) {
    return context.out.result(
      facts,
      () =>
        newer
          ? `${release.version} is available (this is ${VERSION}): op-dbus self update`
          : `${VERSION} is the newest`,
    );
  }
  const { installRelease, runningExecutable } = await import("../update/install.ts");
  const executable = runningExecutable(Deno.env.get("OPDBUS_EXE"));
  const bar = progressBar(context.out, "Downloading", 0, "bytes");
  try {
    const { path, previous } = await installRelease(release, executable, {
      ...options,
      ...(flags.allowHttp && { allowHttp: true }),
      onProgress: (doneBytes) => bar.update(doneBytes),
    });
    context.out.result(
      { ...facts, path, previous },
      () => `Updated ${path} from ${VERSION} to ${release.version}; kept ${previous}`,
    );
  } finally {
    bar.stop();
  }
}

/** What the user set, else what was built in. */
function setting(given: string, builtIn: string, flag: string): string {
  if (given !== "") return given;
  if (!builtIn.startsWith("@")) return builtIn;
  throw new InputError("no_release_source", "This build does not know its releases", {
    hint: `give ${flag}, or set update.url and update.key in the config`,
  });
}

export const self = group("Keep op-dbus itself up to date", { update });
