/** op-dbus repo */
import type { Repositories } from "../plugin/repositories.ts";
import type { TrustStore } from "../plugin/trust_store.ts";
import { absolute } from "./absolute.ts";
import { command, group } from "./command.ts";
import type { Context } from "./context.ts";
import { argument, countFlag, textFlag, toggle } from "./flags.ts";
import { secretKey } from "./password.ts";
import { inWorkplace, openTrust, WAIT } from "./plugin_place.ts";
import { table } from "./table.ts";

interface AddFlags {
  readonly key: readonly string[];
  readonly threshold?: number;
  readonly allowHttp?: boolean;
  readonly noUpdate?: boolean;
  readonly wait?: number;
}

const add = command<AddFlags, [string, string]>({
  brief: "Add a repository and the keys that must sign its index",
  description:
    "Again with the same URL changes its keys. KEY is a .pub file or its line.",
  examples: [
    "op-dbus repo add community https://op-dbus-plugins.org/ --key community.pub",
    "op-dbus repo add local /srv/plugins --key a.pub --key b.pub --threshold 2",
  ],
  flags: {
    key: {
      kind: "parsed",
      parse: String,
      brief: "Public key; may be repeated",
      placeholder: "KEY",
      variadic: true,
    },
    threshold: countFlag("How many of the keys must sign (default 1)", "N", 1),
    allowHttp: toggle("Also plain http"),
    noUpdate: toggle("Do not fetch its index now"),
    wait: WAIT,
  },
  positional: {
    kind: "tuple",
    parameters: [argument("Name for it", "NAME"), argument("Where it is", "URL")],
  },
  async run(context, flags, name, url) {
    const { readPublicKey } = await import("../plugin/sign_file.ts");
    const keys = flags.key.map((text) =>
      readPublicKey(text.startsWith("RW") ? text : absolute(text))
    );
    const where = /^\.{0,2}\//.test(url) ? absolute(url).replace(/\/\.\//g, "/") : url;
    const done = await inWorkplace(context, flags.wait, async ({ recorder }) => {
      const { trust, repositories } = await openTrust(context);
      const isNew = !repositories.all.some((known) => known.name === name);
      const added = repositories.add(name, where, keys, {
        trust,
        ...(flags.threshold !== undefined && { threshold: flags.threshold }),
        ...(flags.allowHttp && { allowHttp: true }),
      });
      const counter = flags.noUpdate
        ? null
        : await firstUpdate(context, repositories, trust, name, isNew);
      await recorder.record({
        category: "trust",
        action: "repo-add",
        subject: name,
        data: {
          url: added.url,
          keys: added.keys.map(({ id }) => id),
          threshold: added.threshold,
        },
      });
      return { added, counter };
    });
    const { added, counter } = done;
    context.out.result(
      { ...added, keys: added.keys.map(({ id }) => id), counter },
      () =>
        `Added ${name}: ${added.url}, ${added.threshold} of ${added.keys.length} keys` +
        (counter === null ? "" : `, index ${counter}`),
    );
  },
});

/** Fetches the index; a repository that was just added and has none is taken back. */
async function firstUpdate(
  { signal, out }: Context,
  repositories: Repositories,
  trust: TrustStore,
  name: string,
  isNew: boolean,
): Promise<number> {
  const { updateRepository } = await import("../plugin/repository_update.ts");
  const { tellPauses } = await import("./progress.ts");
  try {
    const options = { signal, waiting: tellPauses(out) };
    return (await updateRepository(repositories, trust, name, options)).counter;
  } catch (error) {
    if (isNew) repositories.remove(name);
    throw error;
  }
}

const list = command({
  brief: "List the repositories, in the order of preference",
  examples: ["op-dbus repo list"],
  flags: {},
  async run(context) {
    const { repositories } = await openTrust(context);
    const found = repositories.all.map(({ name, url, keys, threshold }) => {
      const accepted = repositories.accepted(name);
      return {
        name,
        url,
        keys: keys.map(({ id }) => id),
        threshold,
        counter: accepted?.counter ?? null,
        expires: accepted?.index.expires ?? null,
        plugins: accepted ? Object.keys(accepted.index.plugins).length : null,
      };
    });
    context.out.result(
      { repositories: found },
      () =>
        found.length === 0 ? "No repositories" : table(
          ["NAME", "URL", "KEYS", "INDEX", "EXPIRES", "PLUGINS"],
          found.map(({ name, url, keys, threshold, counter, expires, plugins }) => [
            name,
            url,
            `${threshold} of ${keys.length}`,
            String(counter ?? "none"),
            expires ?? "",
            String(plugins ?? ""),
          ]),
        ),
    );
  },
});

const remove = command<{ wait?: number }, [string]>({
  brief: "Forget a repository; what was installed from it stays",
  examples: ["op-dbus repo remove community"],
  flags: { wait: WAIT },
  positional: { kind: "tuple", parameters: [argument("Its name", "NAME")] },
  async run(context, flags, name) {
    await inWorkplace(context, flags.wait, async ({ recorder }) => {
      const { repositories } = await openTrust(context);
      repositories.remove(name);
      const action = "repo-remove";
      await recorder.record({ category: "trust", action, subject: name, data: {} });
    });
    context.out.result({ name }, () => `Removed ${name}`);
  },
});

const update = command<{ wait?: number }, string[]>({
  brief: "Fetch the indexes: signed by enough keys, not expired, not older than before",
  examples: ["op-dbus repo update", "op-dbus repo update community --json"],
  flags: { wait: WAIT },
  positional: {
    kind: "array",
    minimum: 0,
    parameter: {
      brief: "Repositories; none for all",
      placeholder: "NAME",
      parse: String,
    },
  },
  async run(context, flags, ...names) {
    const { updateRepository } = await import("../plugin/repository_update.ts");
    const { tellPauses } = await import("./progress.ts");
    const options = { signal: context.signal, waiting: tellPauses(context.out) };
    const updated = await inWorkplace(context, flags.wait, async ({ recorder }) => {
      const { trust, repositories } = await openTrust(context);
      const which = names.length > 0 ? names : repositories.all.map(({ name }) => name);
      const results = [];
      for (const name of which) {
        const result = await updateRepository(repositories, trust, name, options);
        results.push(result);
        for (const id of result.revoked) {
          await recorder.record({
            category: "trust",
            action: "revoke",
            subject: id,
            data: { reason: `by the repository ${name}` },
          });
        }
      }
      return results;
    });
    const rows = updated.map((
      { repository, counter, changed, expires, signedBy, revoked },
    ) => ({
      repository,
      counter,
      changed,
      expires,
      signed_by: signedBy,
      revoked,
    }));
    context.out.result(
      { repositories: rows },
      () =>
        rows.map(({ repository, counter, changed, expires }) =>
          `${repository}: ${changed ? "now at" : "still at"} ${counter}, until ${expires}`
        ).join("\n") || "No repositories",
    );
  },
});

const search = command<object, string[]>({
  brief: "Search the repositories by name and description",
  examples: ["op-dbus repo search container", "op-dbus repo search --json"],
  flags: {},
  positional: {
    kind: "array",
    minimum: 0,
    parameter: {
      brief: "Words; none for everything",
      placeholder: "TERM",
      parse: String,
    },
  },
  async run(context, _flags, ...words) {
    const { Catalog } = await import("../plugin/catalog.ts");
    const { trust, repositories } = await openTrust(context);
    const catalog = await Catalog.load(repositories, trust, { signal: context.signal });
    const found = catalog.search(words.join(" "));
    context.out.result(
      { plugins: found },
      () =>
        found.length === 0 ? "Nothing found" : table(
          ["NAME", "NEWEST", "REPOSITORY", "ABOUT"],
          found.map(({ name, latest, repository, description }) => [
            name,
            latest ?? "(yanked)",
            repository,
            description.replace(/\s+/g, " ").slice(0, 80),
          ]),
        ),
    );
  },
});

interface IndexFlags {
  readonly key: readonly string[];
  readonly packageKey?: readonly string[];
  readonly passwordFile?: string;
  readonly cosign?: boolean;
  readonly noReadme?: boolean;
}

const index = command<IndexFlags, [string]>({
  brief: "Make a repository's index: verify every package, sign the list, write READMEs",
  description:
    "DIR has repository.toml and a folder of packages per plugin. A static web server " +
    "or a git checkout serves it as it is.",
  examples: [
    "op-dbus repo index ./plugins --key me.key",
    "op-dbus repo index ./plugins --key second.key --cosign",
  ],
  flags: {
    key: {
      kind: "parsed",
      parse: String,
      brief: "Secret key that signs the index; may be repeated",
      placeholder: "FILE",
      variadic: true,
    },
    packageKey: {
      kind: "parsed",
      parse: String,
      brief: "Public key that packages may be signed by, beside --key's own",
      placeholder: "KEY",
      variadic: true,
      optional: true,
    },
    passwordFile: textFlag("File with the password", "FILE"),
    cosign: toggle("Only add this key's signature to the index that is there"),
    noReadme: toggle("Write no README.md"),
  },
  positional: { kind: "tuple", parameters: [argument("The repository's folder", "DIR")] },
  async run(context, flags, folder) {
    const build = await import("../plugin/index_build.ts");
    const { readPublicKey } = await import("../plugin/sign_file.ts");
    const signers = [];
    for (const file of flags.key) {
      signers.push(await secretKey(context, absolute(file), flags.passwordFile));
    }
    const where = absolute(folder);
    if (flags.cosign) {
      const signatures = signers.map((key) => build.cosignIndex(where, key));
      return context.out.result({ signatures }, () => signatures.join("\n"));
    }
    const packageKeys = [
      ...signers,
      ...(flags.packageKey ?? []).map((text) =>
        readPublicKey(text.startsWith("RW") ? text : absolute(text))
      ),
    ];
    const { signal } = context;
    const made = await build.buildIndex(where, { packageKeys, signers, signal });
    const { writeReadmes } = await import("../plugin/readme_files.ts");
    const readmes = flags.noReadme
      ? []
      : writeReadmes(where, build.readRepositoryFile(where), made);
    const { counter, expires, plugins } = made.index;
    context.out.result(
      { path: made.path, counter, expires, plugins: Object.keys(plugins), readmes },
      () =>
        `${made.path}: index ${counter}, ${Object.keys(plugins).length} plugins, ` +
        `until ${expires}`,
    );
  },
});

export const repo = group("Use and make repositories of plugins", {
  add,
  list,
  remove,
  update,
  search,
  index,
});
