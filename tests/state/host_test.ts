import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { client } from "../support/private_bus.ts";
import { firewallTest, hostTest, sandboxHost } from "../support/sandbox_host.ts";
import { signs, StateRoot } from "../support/state_root.ts";
import { OpError } from "../../lib/base/errors.ts";
import { listCheckpoints } from "../../lib/state/checkpoint.ts";
import type { Desired } from "../../lib/state/model.ts";
import { rollbackToBlock, rollbackToCheckpoint } from "../../lib/state/rollback.ts";
import { verify } from "../../lib/state/verify.ts";

/** Applies, then expects the second apply to plan nothing. */
async function applyTwice(root: StateRoot, desired: Desired): Promise<string[]> {
  const first = await root.apply(desired);
  const second = await root.apply(desired);
  assertEquals(second.applied, []);
  assertEquals(second.plan.changes, []);
  return signs(first.plan.changes);
}

/** A property as busctl, which nobody here wrote, reads it. */
async function busctl(
  root: StateRoot,
  service: string,
  path: string,
  iface: string,
  property: string,
): Promise<unknown> {
  const to = [service, path, "org.freedesktop.DBus.Properties", "Get", "ss"];
  const bus = `--address=${root.address}`;
  const args = [bus, "--json=short", "call", ...to, iface, property];
  return JSON.parse(await client(root.address, "busctl", ...args)).data[0].data;
}

hostTest("hostname1: names are set, read back by busctl, and rolled back", async () => {
  await using host = await sandboxHost();
  await using root = await StateRoot.make(host.address, ["hostname"]);
  const read = (property: string) =>
    busctl(
      root,
      "org.freedesktop.hostname1",
      "/org/freedesktop/hostname1",
      "org.freedesktop.hostname1",
      property,
    );
  const desired = { hostname: { pretty_hostname: "Büro № 1", location: "Rack 4" } };
  assertEquals(await applyTwice(root, desired), [
    "~ hostname.pretty_hostname",
    "~ hostname.location",
  ]);
  assertEquals(await read("PrettyHostname"), "Büro № 1");
  assertEquals(await read("Location"), "Rack 4");
  const [checkpoint] = listCheckpoints(root.layout);
  await rollbackToCheckpoint(checkpoint!.id, root.options);
  assertEquals(await read("PrettyHostname"), "");
  assertEquals(root.recorded.map(({ action }) => action), ["apply", "rollback"]);
});

hostTest(
  "timedate1: one getter fails GetAll, the others are read one by one",
  async () => {
    await using host = await sandboxHost();
    await using root = await StateRoot.make(host.address, ["timedate"]);
    const before = await root.state("timedate");
    assertEquals(typeof before.timezone, "string");
    assertEquals(typeof before.local_rtc, "boolean");
    assertIncludes(before.ntp.$unknown, "Cannot call");
    assertEquals(await applyTwice(root, { timedate: { timezone: "Europe/Berlin" } }), [
      "~ timedate.timezone",
    ]);
    const path = "/org/freedesktop/timedate1";
    const service = "org.freedesktop.timedate1";
    assertEquals(
      await busctl(root, service, path, service, "Timezone"),
      "Europe/Berlin",
    );
    // What cannot be known is never guessed.
    const plan = await root.diff({ timedate: { ntp: true } });
    assertEquals(signs(plan.changes), ["? timedate.ntp"]);
    const error = await assertRejects(
      () => root.apply({ timedate: { ntp: true } }),
      OpError,
    );
    assertEquals(error.code, "unknown_state");
  },
);

hostTest("timedate1: a value that the service refuses changes nothing", async () => {
  await using host = await sandboxHost();
  await using root = await StateRoot.make(host.address, ["timedate"]);
  const error = await assertRejects(
    () => root.apply({ timedate: { timezone: "Mars/Olympus" } }),
    OpError,
    /nothing was changed/,
  );
  assertEquals(error.exitCode as number, 1);
});

hostTest("locale1: a record keeps the fields that are not named", async () => {
  await using host = await sandboxHost();
  await using root = await StateRoot.make(host.address, ["locale"]);
  await applyTwice(root, {
    locale: { locale: ["LANG=C.UTF-8"], x11_keyboard: { layout: "de", model: "pc105" } },
  });
  assertEquals(
    await applyTwice(root, { locale: { x11_keyboard: { variant: "nodeadkeys" } } }),
    ["~ locale.x11_keyboard"],
  );
  const state = await root.state("locale");
  assertEquals(state.x11_keyboard, {
    layout: "de",
    model: "pc105",
    variant: "nodeadkeys",
    options: "",
  });
  const service = "org.freedesktop.locale1", path = "/org/freedesktop/locale1";
  assertEquals(await busctl(root, service, path, service, "X11Layout"), "de");
});

hostTest(
  "firewalld: sets are additive, present and absent are exact, all undone by a block",
  async () => {
    await using host = await sandboxHost();
    await using root = await StateRoot.make(host.address, ["firewalld"]);
    const before = await root.state("firewalld");
    assertEquals(before.services.public.toSorted(), ["dhcpv6-client", "ssh"]);
    assertEquals(
      await applyTwice(root, {
        firewalld: {
          services: { public: ["ssh", "http"], work: { absent: ["ssh"] } },
          ports: { public: ["8080/tcp"] },
          masquerade: { public: true },
          log_denied: "unicast",
        },
      }),
      [
        "~ firewalld.log_denied",
        "+ firewalld.services.public: http",
        "+ firewalld.ports.public: 8080/tcp",
        "~ firewalld.masquerade.public",
        "- firewalld.services.work: ssh",
      ],
    );
    const after = await root.state("firewalld");
    assertEquals(after.services.public.toSorted(), ["dhcpv6-client", "http", "ssh"]);
    assertEquals(after.services.work, ["dhcpv6-client"]);
    assertEquals(after.ports.public, ["8080/tcp"]);
    const listed = await client(
      root.address,
      "busctl",
      `--address=${root.address}`,
      "call",
      "org.fedoraproject.FirewallD1",
      "/org/fedoraproject/FirewallD1",
      "org.fedoraproject.FirewallD1.zone",
      "getPorts",
      "s",
      "public",
    );
    assertIncludes(listed, '"8080" "tcp"');
    await applyTwice(root, { firewalld: { services: { public: ["https"] } } });
    const blocks = root.recorded.map((action, i) => ({ ...action, number: i + 1 }));
    await rollbackToBlock(0, blocks, root.options);
    assertEquals(await root.state("firewalld"), before);
  },
);

firewallTest(
  "firewalld: an error that says it was so already counts as done",
  async () => {
    await using host = await sandboxHost();
    await using root = await StateRoot.make(host.address, ["firewalld"]);
    const desired = { firewalld: { services: { public: ["http"] } } };
    const result = await root.apply(desired, {
      // Somebody else is faster, between the plan and the call.
      confirm: async () => {
        await client(
          root.address,
          "busctl",
          `--address=${root.address}`,
          "call",
          "org.fedoraproject.FirewallD1",
          "/org/fedoraproject/FirewallD1",
          "org.fedoraproject.FirewallD1.zone",
          "addService",
          "ssi",
          "public",
          "http",
          "0",
        );
        return false;
      },
    });
    assertEquals(result.applied, ["firewalld.services.public: http"]);
  },
);

hostTest("machine1: images are cloned, write-protected and removed", async () => {
  await using host = await sandboxHost();
  await using root = await StateRoot.make(host.address, ["machine"]);
  const desired = {
    machine: { images: { web: { from: "base" }, db: { from: "base", read_only: true } } },
  };
  assertEquals(await applyTwice(root, desired), [
    "+ machine.images.web",
    "+ machine.images.db",
  ]);
  const { images } = await root.state("machine");
  assertEquals(Object.keys(images).sort(), [".host", "base", "db", "web"]);
  assertEquals([images.web.read_only, images.db.read_only], [false, true]);
  assertEquals(
    await applyTwice(root, { machine: { images: { db: { read_only: false } } } }),
    ["~ machine.images.db: read_only"],
  );
  assertEquals(await applyTwice(root, { machine: { images: { web: null } } }), [
    "- machine.images.web",
  ]);
  // What was made is deleted again when it is rolled back.
  const first = listCheckpoints(root.layout)[0]!;
  assertEquals(first.plugins, { machine: { images: { web: null, db: null } } });
  await rollbackToCheckpoint(first.id, root.options);
  assertEquals(Object.keys((await root.state("machine")).images).sort(), [
    ".host",
    "base",
  ]);
});

hostTest(
  "Accounts: a user is made, its fields set on the new object, and deleted",
  async () => {
    await using host = await sandboxHost();
    await using root = await StateRoot.make(host.address, ["accounts"]);
    const users = {
      ada: {
        real_name: "Ada Lovelace",
        account_type: 0,
        shell: "/bin/sh",
        email: "a@x.org",
      },
    };
    assertEquals(await applyTwice(root, { accounts: { users } }), [
      "+ accounts.users.ada",
      "~ accounts.users.ada: shell",
      "~ accounts.users.ada: email",
    ]);
    const { ada } = (await root.state("accounts")).users;
    assertEquals([ada.real_name, ada.shell, ada.email], [
      "Ada Lovelace",
      "/bin/sh",
      "a@x.org",
    ]);
    const uid = await busctl(
      root,
      "org.freedesktop.Accounts",
      ada.$object,
      "org.freedesktop.Accounts.User",
      "UserName",
    );
    assertEquals(uid, "ada");
    assertEquals((await verify(root.options)).changes, []);
    assertEquals(await applyTwice(root, { accounts: { users: { ada: null } } }), [
      "- accounts.users.ada",
    ]);
    // Made again as it was, but for the id that the service gives and no file asks for.
    const note =
      "made again without its uid; its password and groups are not brought back";
    const lost = [`accounts.users.ada: ${note}`];
    assertEquals(listCheckpoints(root.layout).at(-1)!.left_out, lost);
    const back = await rollbackToCheckpoint("latest", root.options);
    assertEquals(back.leftOut, lost);
    const { $object: _new, uid: _newUid, ...again } =
      (await root.state("accounts")).users.ada;
    const { $object: _old, uid: _oldUid, ...before } = ada;
    assertEquals(again, before);
  },
);
