/** What the repositories offer, from the indexes that were accepted and have not expired. */
import { InputError, OpError } from "../base/errors.ts";
import type { IndexPlugin, IndexVersion } from "./index_schema.ts";
import { parseNameRange } from "./names.ts";
import { type Repositories, type Repository } from "./repositories.ts";
import {
  requireUnexpired,
  type UpdateOptions,
  updateRepository,
} from "./repository_update.ts";
import type { Candidate } from "./resolve.ts";
import type { Host } from "./requirements.ts";
import type { TrustStore } from "./trust_store.ts";
import { VERSION } from "../base/version.ts";
import { inRange, newestFirst } from "./versions.ts";

/** Where a version of a repository is. */
export interface RepositoryOrigin {
  readonly kind: "repository";
  readonly repository: Repository;
  readonly entry: IndexVersion;
}

/** One plugin as `repo search` shows it. */
export interface CatalogEntry {
  readonly name: string;
  readonly repository: string;
  readonly description: string;
  /** Newest that is not yanked; null where all are. */
  readonly latest: string | null;
  readonly versions: readonly string[];
}

interface Offer {
  readonly repository: Repository;
  readonly plugins: Readonly<Record<string, IndexPlugin>>;
}

/** The offers of all repositories. */
export class Catalog {
  readonly #indexes: readonly Offer[];

  private constructor(indexes: readonly Offer[]) {
    this.#indexes = indexes;
  }

  /**
   * Reads the accepted indexes; one that is missing or expired is fetched first.
   *
   * @param unusable told of a repository that cannot be used, which is then left out;
   *   without it that is an error, because a name must not quietly come from elsewhere
   * @throws what an update throws
   */
  static async load(
    repositories: Repositories,
    trust: TrustStore,
    options: UpdateOptions = {},
    unusable?: (name: string, error: OpError) => void,
  ): Promise<Catalog> {
    const indexes: Offer[] = [];
    for (const repository of repositories.all) {
      try {
        indexes.push(await offerOf(repositories, repository, trust, options));
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!unusable || !(error instanceof OpError)) throw error;
        unusable(repository.name, error);
      }
    }
    return new Catalog(indexes);
  }

  /**
   * Every version that is offered by the first repository that has the plugin. Another one
   * cannot slip a newer version under a name that belongs to the first.
   */
  candidates(name: string, host: Host): Candidate<RepositoryOrigin>[] {
    const first = this.#indexes.find(({ plugins }) => Object.hasOwn(plugins, name));
    return (first ? [first] : []).flatMap(({ repository, plugins }) =>
      plugins[name]!.versions.map((entry) => ({
        name,
        version: entry.version,
        dependencies: entry.dependencies.map((text) => parseNameRange(text)!),
        installed: false,
        yanked: entry.yanked,
        missing: missingFor(entry, host),
        origin: { kind: "repository" as const, repository, entry },
      }))
    );
  }

  /** Plugins whose name or description holds all the words. */
  search(term: string): CatalogEntry[] {
    const words = term.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.#indexes.flatMap(({ repository, plugins }) =>
      Object.entries(plugins).map(([name, { description = "", versions }]) => ({
        name,
        repository: repository.name,
        description,
        latest: newestFirst(
          versions.filter((entry) => entry.yanked === undefined).map((e) => e.version),
        )[0] ?? null,
        versions: newestFirst(versions.map((entry) => entry.version)),
      }))
    );
    return found.filter(({ name, description }) =>
      words.every((word) => `${name} ${description}`.toLowerCase().includes(word))
    ).sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  }

  /** @throws {InputError} when there is no repository at all */
  requireSome(): void {
    if (this.#indexes.length > 0) return;
    throw new InputError("no_repositories", "There is no repository to install from", {
      hint: "add one: op-dbus repo add NAME URL --key KEY; or name a package file",
    });
  }
}

async function offerOf(
  repositories: Repositories,
  repository: Repository,
  trust: TrustStore,
  options: UpdateOptions,
): Promise<Offer> {
  const { name } = repository, now = options.now ?? new Date();
  let accepted = repositories.accepted(name);
  if (!accepted || now.getTime() >= Date.parse(accepted.index.expires)) {
    await updateRepository(repositories, trust, name, options);
    accepted = repositories.accepted(name)!;
  }
  requireUnexpired(name, accepted.index, now);
  return { repository, plugins: accepted.index.plugins };
}

function missingFor(entry: IndexVersion, host: Host): string[] {
  const missing: string[] = [];
  if (entry.requires_proxmox && !host.isProxmox()) missing.push("Proxmox VE");
  if (entry.op_dbus !== undefined && !inRange(VERSION, entry.op_dbus)) {
    missing.push(`op-dbus ${entry.op_dbus}`);
  }
  return missing;
}
