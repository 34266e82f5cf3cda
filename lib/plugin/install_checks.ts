/** What an install looks at besides the packages: the host, and what was withdrawn. */
import type { InstallContext, PlannedChange } from "./install.ts";
import { type LivePlugin, manifestOf } from "./installed.ts";
import { mappingOf } from "./mapping_file.ts";
import { versionPath } from "./places.ts";
import { requireHost } from "./requirements.ts";
import type { Workplace } from "./transaction.ts";

/**
 * Checks what the plugins need of the host; what cannot be known is told.
 * @throws {OpError} `missing_requirements`
 */
export async function requireHostFor(
  { layout }: Workplace,
  context: InstallContext,
  changes: readonly PlannedChange[],
): Promise<void> {
  const versions = changes.map(({ name, to, package: one }) => {
    const here = versionPath(layout, { name, version: to });
    const manifest = one ? one.content.manifest : manifestOf(here);
    const mapping = one ? one.content.mapping : mappingOf(here);
    return { name, version: to, manifest, mapping };
  });
  await requireHost(versions, context);
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
