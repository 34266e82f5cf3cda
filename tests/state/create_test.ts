import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { client, privateBus, PYTHON } from "../support/private_bus.ts";
import { firewallTest, hostTest, sandboxHost } from "../support/sandbox_host.ts";
import { StateRoot } from "../support/state_root.ts";
import { OpError } from "../../lib/base/errors.ts";
import { BusError } from "../../lib/dbus/bus_error.ts";
import { checkMapping } from "../../lib/plugin/mapping.ts";
import { discoverOne } from "../../lib/plugin/discovery.ts";
import { createPlugin } from "../../lib/state/create.ts";
import { readStateFile } from "../../lib/state/document.ts";
import type { Desired } from "../../lib/state/model.ts";

const ECHO = new URL("../dbus/peers/echo.py", import.meta.url).pathname;

function create(root: StateRoot, name: string, service: string, more = {}) {
  return createPlugin(name, {
    layout: root.layout,
    buses: root.buses,
    service,
    ...more,
  });
}

function read(root: StateRoot, plugin: string, file: string): Promise<string> {
  return Deno.readTextFile(`${root.layout.plugin(plugin)}/${file}`);
}

hostTest("hostname1 becomes a plugin that applies its own live example", async () => {
  await using host = await sandboxHost();
  await using root = await StateRoot.make(host.address, []);
  const result = await create(root, "host", "org.freedesktop.hostname1");
  assertEquals([result.created, result.path], [true, "/org/freedesktop/hostname1"]);
  assertEquals(discoverOne(root.layout, "host").manifest?.name, "host");
  const mapping = checkMapping(await read(root, "host", "semantic-mapping.toml"), "m");
  assertEquals(mapping.problems, []);
  const methods = [...mapping.mapping!.methods.values()];
  assertEquals(methods.filter(({ safe }) => safe).map(({ dbusMethod }) => dbusMethod), [
    "GetProductUUID",
    "GetHardwareSerial",
    "Describe",
  ]);
  assertEquals(methods.every(({ reason, classifiedBy }) => reason && classifiedBy), true);
  assertIncludes(await read(root, "host", "introspection.xml"), "SetPrettyHostname");
  assertIncludes(
    await read(root, "host", "README.md"),
    "| pretty_hostname | value | yes |",
  );
  // What it says of the host is what the host is.
  const example = `${root.layout.plugin("host")}/examples/present.json`;
  const { desired } = readStateFile(example) as { desired: Desired };
  const hostname = (await Deno.readTextFile("/etc/hostname")).trim();
  assertEquals(desired.host!.static_hostname, hostname);
  assertEquals((await root.apply(desired)).plan.changes, []);
  const changed = await root.apply({ host: { pretty_hostname: "Neu" } });
  assertEquals(changed.applied, ["host.pretty_hostname"]);
});

firewallTest("firewalld's pairs become sets, switches and values that work", async () => {
  await using host = await sandboxHost();
  await using root = await StateRoot.make(host.address, []);
  const result = await create(root, "fw", "org.fedoraproject.FirewallD1");
  for (
    const state of [
      "services",
      "ports",
      "interfaces",
      "masquerade",
      "log_denied",
      "panic_mode",
    ]
  ) assertEquals(result.states.includes(state), true, state);
  const state = await root.state("fw");
  assertEquals(state.services.public.toSorted(), ["dhcpv6-client", "ssh"]);
  const { applied } = await root.apply({
    fw: {
      services: { public: ["http"] },
      ports: { public: [{ port: "99", protocol: "udp" }] },
      masquerade: { public: true },
    },
  });
  assertEquals(applied, [
    "fw.services.public: http",
    'fw.ports.public: {"port":"99","protocol":"udp"}',
    "fw.masquerade.public",
  ]);
  const after = await root.state("fw");
  assertEquals(after.ports.public, [{ port: "99", protocol: "udp" }]);
});

hostTest("created again it keeps a person's edits and reports what changed", async () => {
  await using host = await sandboxHost();
  await using root = await StateRoot.make(host.address, []);
  await create(root, "zone", "org.freedesktop.timedate1");
  const file = "semantic-mapping.toml";
  const first = await read(root, "zone", file);
  const again = await create(root, "zone", "org.freedesktop.timedate1");
  assertEquals(again.created, false);
  assertEquals(await read(root, "zone", file), first);
  assertEquals(again.report, {
    added: [],
    updated: [],
    removed: [],
    kept: [],
    conflicts: [],
  });

  const edited = first
    .replace(/\[methods\.set_ntp\][\s\S]*?\n(?=[#[])/, "")
    .replace(
      "[methods.set_time]\n",
      "# dangerous!\n[methods.set_time]\nok_errors = []\n",
    ) +
    '\n[state.mine]\nkind = "value"\nread = { property = "Timezone" }\n';
  await root.put("zone", file, edited.replace(/\[state\.ntp\][\s\S]*?\n(?=[#[])/, ""));
  await root.put("zone", "README.md", "mine\n");
  const third = await create(root, "zone", "org.freedesktop.timedate1");
  assertEquals(third.report.kept.toSorted(), [
    "methods.set_ntp",
    "methods.set_time",
    "state.mine",
    "state.ntp",
  ]);
  assertEquals(third.left, ["README.md"]);
  const now = await read(root, "zone", file);
  assertIncludes(now, "# dangerous!\n[methods.set_time]\nok_errors = []");
  assertEquals(now.includes("[methods.set_ntp]"), false);
  assertIncludes(now, "[state.mine]");
});

Deno.test("a service that changed: new methods come, lost ones go, conflicts are named", async () => {
  await using bus = await privateBus();
  const first = await bus.start("org.test.Echo", PYTHON, ECHO);
  await using root = await StateRoot.make(bus.address, []);
  await create(root, "echo", "org.test.Echo", { bus: "session" });
  const file = "semantic-mapping.toml";
  const text = await read(root, "echo", file);
  assertIncludes(text, 'reason = "its name does not begin with a word for reading"');
  await root.put("echo", file, text.replace("[methods.fail]", "# mine\n[methods.fail]"));
  first.kill("SIGKILL");
  await first.status;
  const peer = (await Deno.readTextFile(ECHO))
    .replace('<arg name="name" type="s" direction="in"/>', "") // Fail
    .replace('<method name="Hang"/>', "") // gone
    .replace('<method name="Die"/>', '<method name="Live"/>');
  await Deno.writeTextFile(`${bus.folder}/echo2.py`, peer);
  await bus.start("org.test.Echo", PYTHON, `${bus.folder}/echo2.py`);
  const { report } = await create(root, "echo", "org.test.Echo", { bus: "session" });
  assertEquals(report, {
    added: ["methods.live"],
    updated: [],
    removed: ["methods.hang", "methods.die"],
    kept: [],
    conflicts: ["methods.fail"],
  });
  assertIncludes(await read(root, "echo", file), "# mine\n[methods.fail]");
});

Deno.test("NetworkManager's objects become collections that one call reads", async () => {
  await using bus = await privateBus();
  const nm = "org.freedesktop.NetworkManager", file = "semantic-mapping.toml";
  await bus.start(nm, PYTHON, "-m", "dbusmock", "--template", "networkmanager");
  const busctl = (...args: string[]) =>
    client(bus.address, "busctl", `--address=${bus.address}`, "--json=short", ...args);
  const mock = async (...args: string[]) => {
    const at = ["call", nm, "/org/freedesktop", "org.freedesktop.DBus.Mock"];
    return JSON.parse(await busctl(...at, ...args)).data[0];
  };
  await mock("AddEthernetDevice", "ssi", "eth0", "eth0", "100");
  const wifi = await mock("AddWiFiDevice", "ssi", "wlan0", "wlan0", "30");
  const point = await mock(
    ...["AddAccessPoint", "ssssuuuyu", wifi, "home", "Home", "00:23:F8:7E:12:BB"],
    ...["0", "2425", "54", "82", "0x400"],
  );
  await using root = await StateRoot.make(bus.address, []);
  const { states } = await create(root, "nm", nm);
  for (const state of ["device", "wireless", "access_point"]) {
    assertEquals(states.includes(state), true, states.join());
  }
  const { device, access_point: points } = await root.state("nm");
  assertEquals(Object.keys(device).sort(), ["eth0", "wlan0"]);
  const path = device.eth0.$object;
  const state = await busctl("get-property", nm, path, `${nm}.Device`, "State");
  assertEquals(device.eth0.state, JSON.parse(state).data);
  assertEquals(Object.values<{ $object: string }>(points).map((p) => p.$object), [point]);
  // However many there are, it is the same number of calls.
  const own = await root.buses.get("system");
  const trips = async () => {
    const before = own.roundTrips;
    await root.state("nm");
    return own.roundTrips - before;
  };
  const few = await trips();
  await mock("AddEthernetDevice", "ssi", "eth1", "eth1", "100");
  assertEquals(await trips(), few);
  // What is unplugged takes its table with it no more than a person's edits.
  const before = await read(root, "nm", file);
  await client(
    ...[bus.address, "busctl", `--address=${bus.address}`, "call", nm] as const,
    ...["/org/freedesktop", "org.freedesktop.DBus.Mock", "RemoveAccessPoint", "ss"],
    ...[wifi, point],
  );
  const again = await create(root, "nm", nm);
  assertEquals([again.report.updated, again.report.removed], [[], []]);
  assertEquals(await read(root, "nm", file), before);
  const one = await create(root, "one", nm, { interface: nm });
  assertEquals(one.states.includes("device"), false);
});

Deno.test("a service that answers nothing but what it is still becomes a plugin", async () => {
  await using bus = await privateBus();
  const peer = (await Deno.readTextFile(ECHO)).replace(
    "def get(connection, sender, path, interface, name):",
    "def get(connection, sender, path, interface, name):\n    os._exit(1)",
  );
  await Deno.writeTextFile(`${bus.folder}/shy.py`, peer);
  await bus.start("org.test.Echo", PYTHON, `${bus.folder}/shy.py`);
  await using root = await StateRoot.make(bus.address, []);
  const made = await create(root, "shy", "org.test.Echo", { bus: "session" });
  assertIncludes(made.exampleProblem ?? "", "Cannot call");
  assertEquals(discoverOne(root.layout, "shy").manifest?.name, "shy");
  // Its notes were kept: made again, nothing counts as a person's edit.
  await bus.start("org.test.Echo", PYTHON, ECHO);
  const again = await create(root, "shy", "org.test.Echo", { bus: "session" });
  assertEquals([again.report.kept, again.left, again.exampleProblem], [[], [], null]);
});

Deno.test("a service with too much to map leaves nothing behind", async () => {
  await using bus = await privateBus();
  const many = (name: string) =>
    `<interface name="org.test.${name}">` +
    Array.from({ length: 1500 }, (_, i) => `<method name="M${i}"/>`).join("") +
    "</interface>";
  const peer = (await Deno.readTextFile(ECHO)).replace(
    "</interface></node>",
    "</interface>" +
      ["X", "Y", "Z"].map(many).join("") + "</node>",
  ).replace(
    "    info = Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0]\n" +
      "    connection.register_object(PATH, info, call, get, set_)",
    "    for info in Gio.DBusNodeInfo.new_for_xml(XML).interfaces:\n" +
      "        connection.register_object(PATH, info, call, get, set_)",
  );
  await Deno.writeTextFile(`${bus.folder}/big.py`, peer);
  await bus.start("org.test.Echo", PYTHON, `${bus.folder}/big.py`);
  await using root = await StateRoot.make(bus.address, []);
  const error = await assertRejects(() => create(root, "big", "org.test.Echo"), OpError);
  assertEquals(error.code, "bad_mapping");
  assertIncludes(error.message, "Cannot map org.test.Echo: ");
  assertEquals(
    [...Deno.readDirSync(root.layout.root)].some(({ name }) => name === "@plugin-big"),
    false,
  );
});

Deno.test("a service that is missing, or an interface that it lacks, is said so", async () => {
  await using bus = await privateBus();
  await bus.start("org.test.Echo", PYTHON, ECHO);
  await using root = await StateRoot.make(bus.address, []);
  const missing = await assertRejects(() => create(root, "x", "org.test.None"), BusError);
  assertEquals(missing.code as string, "dbus_no_service");
  const wrong = await assertRejects(
    () => create(root, "x", "org.test.Echo", { interface: "org.test.Other" }),
    OpError,
  );
  assertEquals(wrong.code, "nothing_to_map");
  await assertRejects(() => create(root, "../x", "org.test.Echo"), OpError);
  const left = [...Deno.readDirSync(root.layout.root)].map(({ name }) => name);
  assertEquals(left.some((name) => name.startsWith("@plugin-x")), false);
});

for (
  const [template, service] of [
    ["networkmanager", "org.freedesktop.NetworkManager"],
    ["logind", "org.freedesktop.login1"],
    ["upower", "org.freedesktop.UPower"],
    ["timedated", "org.freedesktop.timedate1"],
    ["bluez5", "org.bluez"],
    ["polkitd", "org.freedesktop.PolicyKit1"],
  ] as const
) {
  Deno.test(`dbusmock's ${template}: a plugin without the mock's own interface`, async () => {
    await using bus = await privateBus();
    await bus.start(service, PYTHON, "-m", "dbusmock", "--template", template);
    await using root = await StateRoot.make(bus.address, []);
    const { states, methods } = await create(root, "mock", service);
    assertEquals(methods > 0, true);
    const text = await read(root, "mock", "semantic-mapping.toml");
    assertEquals(text.includes("DBus.Mock"), false);
    assertEquals(checkMapping(text, "m").problems, []);
    if (states.length > 0) await root.state("mock");
  });
}
