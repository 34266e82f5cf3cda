/** What an install looks at besides the packages: the host, and what was withdrawn. */
import { OpError } from "../base/errors.ts";
import type { InstallContext, PlannedChange } from "./install.ts";
import { type LivePlugin, manifestOf } from "./installed.ts";
import { mappingOf } from "./mapping_file.ts";
import { versionPath } from "./places.ts";
import { lackingRequirements } from "./requirements.ts";
import type { Workplace } from "./transaction.ts";

/**
 * Checks what the plugins need of the host; what cannot be known is told.
 * @throws {OpError} `missing_requirements`
 */
export async function requireHost(
  { layout }: Workplace,
  context: InstallContext,
  changes: readonly PlannedChange[],
): Promise<void> {
  if (context.ignoreRequirements) return;
  const lines: string[] = [];
  for (const { name, to, package: one } of changes) {
    const here = versionPath(layout, { name, version: to });
    const manifest = one ? one.content.manifest : manifestOf(here);
    const mapping = one ? one.content.mapping : mappingOf(here);
    if (!manifest) continue;
    const { missing, unknown } = await lackingRequirements(
      manifest,
      mapping,
      context.host,
    );
    if (missing.length > 0) lines.push(`${name}@${to} needs ${missing.join(", ")}`);
    for (const line of unknown) {
      context.note(`${name}@${to} needs something that may not be here: ${line}`);
    }
  }
  if (lines.length === 0) return;
  throw new OpError(
    "missing_requirements",
    `This host lacks something: ${lines.join("; ")}`,
    {
      hint: "install what is missing, or go on without it: --ignore-requirements",
    },
  );
}

/** Tells that a version that is live should not be installed any more. */
export function noteYanked(
  context: InstallContext,
  { name, manifest }: LivePlugin,
): void {
  const { version } = manifest;
  const why = context.catalog.candidates(name, context.host)
    .find((candidate) => candidate.version === version)?.yanked;
  if (why !== undefined) {
    context.note(`${name}@${version} is installed and yanked: ${why}`);
  }
}
