/** op-dbus key, sign, verify-signature */
import { absolute, outputFile } from "./absolute.ts";
import { command, group } from "./command.ts";
import { confirm } from "./confirm.ts";
import { argument, textFlag, toggle, YES } from "./flags.ts";
import { password, secretKey } from "./password.ts";
import { inWorkplace, openTrust, WAIT } from "./plugin_place.ts";
import { table } from "./table.ts";

const PASSWORD_FILE = textFlag(
  "File with the password (else OPDBUS_KEY_PASSWORD, else the terminal asks)",
  "FILE",
);

interface GenerateFlags {
  readonly passwordFile?: string;
  readonly noPassword?: boolean;
  readonly force?: boolean;
}

const generate = command<GenerateFlags, [string]>({
  brief: "Make a key pair: NAME.key to sign with, NAME.pub to give away",
  description: "Both are minisign's formats; the secret key is encrypted by a password.",
  examples: ["op-dbus key generate me", "op-dbus key generate ci --no-password"],
  flags: {
    passwordFile: PASSWORD_FILE,
    noPassword: toggle("Leave the secret key unencrypted"),
    force: toggle("Replace files that are there"),
  },
  positional: { kind: "tuple", parameters: [argument("Name of both files", "NAME")] },
  async run(context, flags, name) {
    const { formatSecretKey, generateSecretKey } = await import(
      "../plugin/minisign/secret_key.ts"
    );
    const { formatPublicKey } = await import("../plugin/minisign/format.ts");
    const { writeDurably } = await import("../base/durable.ts");
    const { requireFree } = await import("../plugin/pack.ts");
    const secretPath = outputFile(`${name}.key`), publicPath = outputFile(`${name}.pub`);
    for (const path of [secretPath, publicPath]) requireFree(path, flags.force ?? false);
    const secret = flags.noPassword
      ? null
      : await password(context, flags.passwordFile, "New password", true);
    const key = generateSecretKey();
    const bytes = (text: string) => new TextEncoder().encode(text);
    writeDurably(secretPath, bytes(await formatSecretKey(key, secret)), 0o600);
    writeDurably(publicPath, bytes(formatPublicKey(key)));
    context.out.result(
      { id: key.id, secret_key: secretPath, public_key: publicPath },
      () =>
        `Key ${key.id}\n${secretPath} (secret: keep it, and a copy of it)\n${publicPath}`,
    );
  },
});

const list = command({
  brief: "List the keys that are trusted, and those that are revoked",
  examples: ["op-dbus key list"],
  flags: {},
  async run(context) {
    const { trust, repositories } = await openTrust(context);
    const keys = [
      ...trust.keys.map(({ id, added, comment }) => ({
        id,
        status: "trusted",
        for: "everything",
        since: added,
        note: comment ?? "",
      })),
      ...repositories.all.flatMap((repository) =>
        repository.keys.map(({ id }) => ({
          id,
          status: trust.isRevoked(id) ? "revoked" : "trusted",
          for: `repository ${repository.name}`,
          since: "",
          note: "",
        }))
      ),
      ...trust.revoked.map(({ id, time, reason }) => ({
        id,
        status: "revoked",
        for: "everything",
        since: time,
        note: reason,
      })),
    ];
    context.out.result({ keys }, () =>
      keys.length === 0 ? "No keys" : table(
        ["KEY", "STATUS", "FOR", "SINCE", "NOTE"],
        keys.map((key) => [key.id, key.status, key.for, key.since, key.note]),
      ));
  },
});

interface TrustFlags {
  readonly comment?: string;
  readonly yes?: boolean;
  readonly wait?: number;
}

const trust = command<TrustFlags, [string]>({
  brief: "Trust a public key for whatever it signs",
  examples: ["op-dbus key trust author.pub --comment 'Ann, met in person'"],
  flags: {
    comment: textFlag("Whose it is, for your own list", "TEXT"),
    yes: YES,
    wait: WAIT,
  },
  positional: {
    kind: "tuple",
    parameters: [argument("A .pub file, or its line that starts with RW", "KEY")],
  },
  async run(context, flags, text) {
    const { readPublicKey } = await import("../plugin/sign_file.ts");
    const key = readPublicKey(text.startsWith("RW") ? text : absolute(text));
    await confirm(
      context,
      `Trust key ${key.id} as root for all it signs`,
      flags.yes ?? false,
    );
    await inWorkplace(context, flags.wait, async ({ recorder }) => {
      const { trust } = await openTrust(context);
      trust.trust(key, flags.comment);
      await recorder.record({
        category: "trust",
        action: "trust",
        subject: key.id,
        data: { comment: flags.comment ?? null },
      });
    });
    context.out.result({ id: key.id }, () => `Trusted ${key.id}`);
  },
});

interface RevokeFlags {
  readonly reason?: string;
  readonly wait?: number;
}

const revoke = command<RevokeFlags, [string]>({
  brief: "Refuse a key from now on, wherever it is trusted",
  examples: ["op-dbus key revoke 0123456789ABCDEF --reason 'laptop stolen'"],
  flags: { reason: textFlag("Why, for whoever meets the refusal", "TEXT"), wait: WAIT },
  positional: { kind: "tuple", parameters: [argument("The key's id", "ID")] },
  async run(context, flags, text) {
    const { InputError } = await import("../base/errors.ts");
    const id = text.toUpperCase();
    if (!/^[0-9A-F]{16}$/.test(id)) {
      throw new InputError("usage", `Not a key's id: ${JSON.stringify(text)}`, {
        hint: "16 hexadecimal digits; see op-dbus key list",
      });
    }
    const reason = flags.reason ?? "by the user";
    await inWorkplace(context, flags.wait, async ({ recorder }) => {
      const { trust } = await openTrust(context);
      trust.revoke(id, reason);
      await recorder.record({
        category: "trust",
        action: "revoke",
        subject: id,
        data: { reason },
      });
    });
    context.out.result({ id, reason }, () => `Revoked ${id}`);
  },
});

export const key = group("Make keys, and say which to trust", {
  generate,
  list,
  trust,
  revoke,
});

interface SignFlags {
  readonly key: string;
  readonly passwordFile?: string;
}

/** `op-dbus sign` */
export const sign = command<SignFlags, string[]>({
  brief: "Sign files: FILE.minisig beside each, as minisign would",
  description:
    "The trusted comment of a package binds its name, version, digest and the time.",
  examples: ["op-dbus sign lxc-v1.2.0.btrfs.zst --key me.key"],
  flags: {
    key: { ...textFlag("Secret key file", "FILE"), optional: false },
    passwordFile: PASSWORD_FILE,
  },
  positional: {
    kind: "array",
    minimum: 1,
    parameter: { brief: "Files", placeholder: "FILE", parse: String },
  },
  async run(context, flags, ...files) {
    const { signFile } = await import("../plugin/sign_file.ts");
    const { packageNameOf } = await import("../plugin/package.ts");
    const key = await secretKey(context, absolute(flags.key), flags.passwordFile);
    const signed: { file: string; signature: string; trusted_comment: string }[] = [];
    for (const file of files) {
      const name = await packageNameOf(absolute(file));
      const { path, signature } = signFile(absolute(file), key, { name });
      const { trustedComment } = signature;
      signed.push({ file, signature: path, trusted_comment: trustedComment });
    }
    context.out.result(
      { key: key.id, signed },
      () => signed.map(({ signature }) => signature).join("\n"),
    );
  },
});

/** `op-dbus verify-signature` */
export const verifySignature = command<{ key?: string }, [string]>({
  brief:
    "Check a file's .minisig with a given key, or one that is trusted: exit 3 if wrong",
  examples: [
    "op-dbus verify-signature lxc-v1.2.0.btrfs.zst",
    "op-dbus verify-signature FILE --key author.pub",
  ],
  flags: { key: textFlag("Public key, instead of the trusted ones", "KEY") },
  positional: { kind: "tuple", parameters: [argument("The signed file", "FILE")] },
  async run(context, flags, file) {
    const { readPublicKey, verifyFile } = await import("../plugin/sign_file.ts");
    const { validKeys } = await import("../plugin/repositories.ts");
    let find;
    if (flags.key !== undefined) {
      const key = readPublicKey(
        flags.key.startsWith("RW") ? flags.key : absolute(flags.key),
      );
      find = (id: string) => id === key.id ? key : undefined;
    } else {
      const { trust, repositories } = await openTrust(context);
      find = (id: string) => {
        trust.requireNotRevoked(id);
        return trust.find(id) ??
          repositories.all.flatMap((one) => validKeys(one, trust))
            .find((known) => known.id === id);
      };
    }
    const { signature, key, digests } = verifyFile(absolute(file), find);
    const { trustedComment } = signature;
    context.out.result(
      {
        file,
        valid: true,
        key: key.id,
        trusted_comment: trustedComment,
        sha256: digests.sha256,
      },
      () => `Signed by ${key.id}\n${trustedComment.replaceAll("\t", "  ")}`,
    );
  },
});
