/** The tree of commands. Each noun has a file of its own; this one only lists them. */
import {
  type Application,
  type ApplicationText,
  buildApplication,
  buildRouteMap,
} from "@stricli/core";
import type { CliContext } from "./command.ts";
import { GLOBAL_HELP } from "./globals.ts";
import { cache } from "./cache.ts";
import { chain } from "./chain.ts";
import { config } from "./config.ts";
import { doctor } from "./doctor.ts";
import { embed } from "./embed.ts";
import { init } from "./init.ts";
import { model } from "./model.ts";
import { snapshot } from "./snapshot.ts";
import { key, sign, verifySignature } from "./key.ts";
import { plugin } from "./plugin.ts";
import { repo } from "./repo.ts";
import { version } from "./version.ts";

/** Every command, by its first word. */
export const ROUTES = {
  init,
  doctor,
  config,
  embed,
  cache,
  chain,
  model,
  snapshot,
  plugin,
  repo,
  key,
  sign,
  "verify-signature": verifySignature,
  version,
};

/**
 * The application.
 *
 * @param text messages
 * @param failed told what a command threw; returns the exit code
 */
export function application(
  text: ApplicationText,
  failed: (error: unknown) => number,
): Application<CliContext> {
  const root = buildRouteMap<string, CliContext>({
    routes: ROUTES,
    aliases: { blockchain: "chain" },
    docs: {
      brief: "Embedding cache, signed plugins, snapshots and desired state on btrfs",
      fullDescription:
        `Embedding cache, signed plugins, snapshots and desired state on btrfs\n\n${GLOBAL_HELP}`,
    },
  });
  return buildApplication(root, {
    name: "op-dbus",
    scanner: {
      caseStyle: "allow-kebab-for-camel",
      allowArgumentEscapeSequence: true,
    },
    documentation: {
      caseStyle: "convert-camel-to-kebab",
      disableAnsiColor: true,
      useAliasInUsageLine: false,
      onlyRequiredInUsageLine: true,
    },
    localization: { text },
    determineExitCode: failed,
  });
}
