/**
 * Runs op-dbus as a child process: the source by default, with the permissions of the
 * executable; the executable that OPDBUS_TEST_EXE names where it is set (scripts/test runs
 * both).
 */
import { permissionFlags } from "../../scripts/permissions.ts";

const REPO = new URL("../../", import.meta.url).pathname;

/** What a run gave. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: Uint8Array;
}

/** How to run. */
export interface CliOptions {
  /** Written to standard input; none by default. */
  readonly stdin?: string | Uint8Array;
  /** Added to {@link cliEnvironment}. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** The command line that starts op-dbus: program first. */
export function cliCommand(): string[] {
  const executable = Deno.env.get("OPDBUS_TEST_EXE");
  if (executable) return [executable];
  const flags = ["--quiet", "--no-prompt", ...permissionFlags()];
  return [Deno.execPath(), "run", ...flags, `${REPO}main.ts`];
}

/**
 * The environment of a run where the test gives none: no settings of the host's. In the
 * bare root (scripts/lib/bare_stage.ts) it is empty.
 */
export function cliEnvironment(): Record<string, string> {
  if (Deno.env.has("OPDBUS_TEST_BARE")) return {};
  const kept = ["PATH", "HOME", "TMPDIR", "DENO_DIR"];
  const env: Record<string, string> = { OPDBUS_CONFIG: "/dev/null", NO_COLOR: "1" };
  for (const name of kept) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  // A full run of the tests counts what the program runs as a child, too.
  const coverage = Deno.env.get("OPDBUS_TEST_COVERAGE");
  if (coverage && !Deno.env.has("OPDBUS_TEST_EXE")) env.DENO_COVERAGE_DIR = coverage;
  return env;
}

/** Starts op-dbus, all three streams piped. */
export function spawnCli(args: readonly string[], options: CliOptions = {}) {
  const [program, ...before] = cliCommand();
  return new Deno.Command(program!, {
    args: [...before, ...args],
    clearEnv: true,
    env: { ...cliEnvironment(), ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs op-dbus to its end. */
export async function cli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const child = spawnCli(args, options);
  const feed = feedStdin(child, options.stdin);
  const { code, stdout, stderr } = await child.output();
  await feed;
  const text = new TextDecoder();
  return {
    code,
    stdout: text.decode(stdout),
    stderr: text.decode(stderr),
    stdoutBytes: stdout,
  };
}

async function feedStdin(child: Deno.ChildProcess, input?: string | Uint8Array) {
  const writer = child.stdin.getWriter();
  try {
    if (input !== undefined) {
      await writer.write(
        typeof input === "string" ? new TextEncoder().encode(input) : input,
      );
    }
    await writer.close();
  } catch (error) {
    // A command that stops before it has read everything closes its end.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
