/** The tree of commands. Each noun has a file of its own; this one only lists them. */
import {
  type Application,
  type ApplicationText,
  buildApplication,
  buildRouteMap,
  type Command,
  type RouteMap,
} from "@stricli/core";
import type { CliContext } from "./command.ts";
import { GLOBAL_HELP } from "./globals.ts";

/** A command, or a noun with verbs. */
export type Route = Command<CliContext> | RouteMap<CliContext>;

/**
 * Every command by its first word. Loaded one by one: a start pays for the command that
 * it runs, however many there are.
 */
export const NOUNS: Readonly<Record<string, () => Promise<Route>>> = {
  init: async () => (await import("./init.ts")).init,
  doctor: async () => (await import("./doctor.ts")).doctor,
  config: async () => (await import("./config.ts")).config,
  embed: async () => (await import("./embed.ts")).embed,
  cache: async () => (await import("./cache.ts")).cache,
  chain: async () => (await import("./chain.ts")).chain,
  model: async () => (await import("./model.ts")).model,
  numa: async () => (await import("./numa.ts")).numa,
  snapshot: async () => (await import("./snapshot.ts")).snapshot,
  plugin: async () => (await import("./plugin.ts")).plugin,
  query: async () => (await import("./state.ts")).query,
  diff: async () => (await import("./state.ts")).diff,
  apply: async () => (await import("./state_change.ts")).apply,
  confirm: async () => (await import("./state_change.ts")).confirm,
  verify: async () => (await import("./state.ts")).verify,
  checkpoint: async () => (await import("./state_change.ts")).checkpoint,
  rollback: async () => (await import("./state_change.ts")).rollback,
  repo: async () => (await import("./repo.ts")).repo,
  key: async () => (await import("./key.ts")).key,
  sign: async () => (await import("./key.ts")).sign,
  "verify-signature": async () => (await import("./key.ts")).verifySignature,
  self: async () => (await import("./self.ts")).self,
  serve: async () => (await import("./serve.ts")).serve,
  status: async () => (await import("./status.ts")).status,
  help: async () => (await import("./help.ts")).help,
  completions: async () => (await import("./completions.ts")).completions,
  version: async () => (await import("./version.ts")).version,
};

/** Other names of nouns. */
const ALIASES: Readonly<Record<string, string>> = { blockchain: "chain", run: "serve" };

/**
 * The routes that a command line needs: its own noun, or all of them for help, for a
 * mistyped word and for whoever walks the tree.
 *
 * @param word first word of the command line that is no global flag
 */
export async function loadRoutes(word?: string): Promise<Record<string, Route>> {
  const noun = word === undefined ? undefined : ALIASES[word] ?? word;
  const names = noun !== undefined && Object.hasOwn(NOUNS, noun)
    ? [noun]
    : Object.keys(NOUNS);
  const loaded = await Promise.all(
    names.map(async (name) => [name, await NOUNS[name]!()] as const),
  );
  return Object.fromEntries(loaded);
}

/**
 * The application.
 *
 * @param routes what {@link loadRoutes} gave
 * @param text messages
 * @param failed told what a command threw; returns the exit code
 */
export function application(
  routes: Readonly<Record<string, Route>>,
  text: ApplicationText,
  failed: (error: unknown) => number,
): Application<CliContext> {
  const root = buildRouteMap<string, CliContext>({
    routes,
    aliases: Object.fromEntries(
      Object.entries(ALIASES).filter(([, noun]) => Object.hasOwn(routes, noun)),
    ),
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
