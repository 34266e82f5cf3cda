/**
 * Route A: `deno compile`, where its stripped runtime `denort` can be had. Deno looks for
 * it in DENORT_BIN, then in its cache, then downloads it.
 */
import { permissionFlags } from "../permissions.ts";
import { type Arch, type Built, MAIN, TARGETS } from "./build.ts";

/** How long the download may take: it is about 40 MB, or it never begins. */
const DOWNLOAD_TIMEOUT_MS = 120_000;
/** How long until the download must have begun, in a place without a network. */
const CONNECT_TIMEOUT_MS = 20_000;

/** Why route A was not taken, or that it was. */
export type DenortResult = { made: true } | { made: false; why: string };

/** Whether denort is at hand without a download. */
async function denortAtHand(arch: Arch): Promise<boolean> {
  const named = Deno.env.get("DENORT_BIN");
  const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const zip = `denort-${TARGETS[arch].deno}.zip`;
  const cached = `${cache}/dl/release/v${Deno.version.deno}/${zip}`;
  for (const path of [named, cached]) {
    if (path === undefined) continue;
    try {
      await Deno.stat(path);
      return true;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return false;
}

/**
 * Compiles the bundle into `path`, and starts the result to see that it works: a denort
 * that is really a full deno makes a file that ignores what was put into it.
 */
export async function compileWithDenort(
  built: Built,
  arch: Arch,
  path: string,
): Promise<DenortResult> {
  const atHand = await denortAtHand(arch);
  const { success, text } = await limited(Deno.execPath(), [
    ...["compile", "--quiet", "--no-config", "--no-lock", "--no-npm", "--no-remote"],
    // The code cache would be read from a predictable path below /tmp, whoever owns it.
    ...["--no-check", "--no-code-cache", "--target", TARGETS[arch].deno],
    ...permissionFlags(),
    // The chunks too: their imports are hidden from Deno, so that a start reads few.
    ...built.files.filter((name) => name !== MAIN)
      .flatMap((name) => ["--include", `${built.folder}/${name}`]),
    ...["-o", path, `${built.folder}/${MAIN}`],
  ], atHand ? DOWNLOAD_TIMEOUT_MS : CONNECT_TIMEOUT_MS);
  if (!success) return { made: false, why: causeIn(text) };
  if (arch !== Deno.build.arch) return { made: true };
  const started = await limited(path, ["version"], CONNECT_TIMEOUT_MS);
  if (started.success && started.text.startsWith(`op-dbus ${built.version}`)) {
    return { made: true };
  }
  await Deno.remove(path);
  return { made: false, why: "what denort made does not start as op-dbus" };
}

/** The cause that matters in Deno's report: the first one below the summary. */
function causeIn(report: string): string {
  const lines = report.split("\n").map((line) => line.trim()).filter(Boolean);
  const cause = lines.find((line) => /^1: /.test(line)) ?? lines[0];
  return cause?.replace(/^(1:|error:) /, "") ?? "deno compile failed without a word";
}

/** Runs a program that may hang on the network; kills it when its time is over. */
async function limited(
  program: string,
  args: string[],
  timeoutMs: number,
): Promise<{ success: boolean; text: string }> {
  const signal = AbortSignal.timeout(timeoutMs);
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    signal,
    stdin: "null",
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  }).output();
  if (!success && signal.aborted) {
    return { success, text: `no answer within ${timeoutMs / 1000} s` };
  }
  const text = new TextDecoder();
  return { success, text: (text.decode(stdout) + text.decode(stderr)).trim() };
}
