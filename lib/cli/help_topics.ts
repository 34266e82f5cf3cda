/** What `op-dbus help TOPIC` says: what belongs to no single command. */

/** One topic. */
export interface Topic {
  readonly brief: string;
  readonly text: string;
}

const CRON = `
Snapshots from cron

Take one every hour and thin out the old ones in the same run:

  # /etc/cron.d/op-dbus
  PATH=/usr/local/bin:/usr/bin:/bin
  0 * * * * root op-dbus snapshot rotate --quiet

With --quiet nothing is printed unless something fails, so cron mails failures only. Two
runs never work on one target at once: the second ends with exit code 5, or waits with
--wait 5m.

What is kept is a policy, in /etc/op-dbus/config.toml:

  [snapshot.policies.default]
  keep_hourly = 24
  keep_daily = 7
  keep_weekly = 4

Look before it deletes anything:

  op-dbus snapshot rotate --dry-run

A snapshot that must stay is held; rotation leaves it alone until it is released:

  op-dbus snapshot hold NAME
  op-dbus snapshot release NAME

Names are in UTC, so a change of daylight saving neither skips nor repeats one.
`;

const PLUGINS = `
Plugins

A plugin is a folder with a manifest (plugin.toml), a mapping of D-Bus methods
(semantic-mapping.toml) and examples. On disk it is the btrfs subvolume @plugin-NAME; it
travels as a btrfs send stream, compressed and signed: NAME-vVERSION.btrfs.zst with
NAME-vVERSION.btrfs.zst.minisig beside it.

Installing verifies the signature, the digest and every command of the stream before any
of it is received. A version is kept read-only in @plugin-snapshots/NAME@vVERSION; the
live plugin is a writable snapshot of it, exchanged in one step, and rollback is one
exchange back. Files of yours (state/ and those the manifest lists as configuration) are
merged into the new version; where both sides changed, yours stays and theirs lies beside
it as .new.

What a plugin may do on the bus is in its mapping. A method that is not marked safe is
never called without a confirmation.
`;

const TRUST = `
Whom op-dbus believes

Everything that is downloaded is verified before it is used:

  packages       a minisign signature whose trusted comment binds the plugin's name, its
                 version and the digest, by a key that you trust
  repositories   index.json, signed, with a counter that may only grow and a date after
                 which it is refused: nobody can show you an old list as if it were new
  this program   SHA256SUMS, signed by the release key

A key is trusted when you say so and never because a download came with it. Compare its id
with one that you got in another way. Keys are plain minisign keys: whatever minisign signs
op-dbus verifies, and the other way round. A revoked key is refused, whoever else trusts
it, also for packages that it signed before.

What signatures do not cover: a plugin that is signed is not thereby harmless. Read what
it may do before you agree; it is shown before anything is installed.
`;

const NUMA = `
Processors and memory

On a machine with several NUMA nodes a processor reaches its own node's memory sooner than
another's. op-dbus reads the nodes and the caches that processors share from /sys (never
assuming that processors 0 to 3 belong together), and keeps the threads and the memory of
the embedding cache on one node where that helps.

On a machine with one node there is nothing to place, and nothing is done.

  op-dbus doctor            says what the machine has
  op-dbus doctor --measure  measures it: its numbers are of this machine alone
`;

/** Every topic by its name. */
export const TOPICS: Readonly<Record<string, Topic>> = {
  cron: { brief: "Snapshots every hour, and what is kept", text: CRON },
  plugins: { brief: "What a plugin is, and how it is installed", text: PLUGINS },
  trust: { brief: "Signatures: whom op-dbus believes, and what that means", text: TRUST },
  numa: { brief: "Processors, memory and how the cache is placed", text: NUMA },
};
