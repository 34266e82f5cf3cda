import { assertEquals, assertIncludes, assertRejects } from "../support/assert.ts";
import { client, privateBus, PYTHON } from "../support/private_bus.ts";
import { tempFolder } from "../support/scratch.ts";
import { InputError } from "../../lib/base/errors.ts";
import { Bus } from "../../lib/dbus/bus.ts";
import { BusError } from "../../lib/dbus/bus_error.ts";
import { messageBytes, METHOD_RETURN } from "../../lib/dbus/message.ts";
import { type Json, ValueError } from "../../lib/dbus/value.ts";

const ECHO = new URL("./peers/echo.py", import.meta.url).pathname;
const TARGET = {
  destination: "org.test.Echo",
  path: "/org/test/Echo",
  interface: "org.test.Echo",
};

async function echoBus(limits = "") {
  const bus = await privateBus(limits);
  const service = await bus.start("org.test.Echo", PYTHON, ECHO);
  return Object.assign(bus, { service });
}

async function rejectsAs(promise: Promise<unknown>, code: string): Promise<BusError> {
  const error = await assertRejects(() => promise, BusError);
  assertEquals(error.code as string, code, error.message);
  return error;
}

/** Values with their type, and how GLib writes them. */
const VALUES: readonly [type: string, json: Json, glib: string][] = [
  ["y", 255, "byte 0xff"],
  ["n", -32768, "int16 -32768"],
  ["q", 65535, "uint16 65535"],
  ["i", -2147483648, "-2147483648"],
  ["u", 4294967295, "uint32 4294967295"],
  ["x", "-9223372036854775808", "int64 -9223372036854775808"],
  ["x", -9007199254740991, "int64 -9007199254740991"],
  ["t", "18446744073709551615", "uint64 18446744073709551615"],
  ["d", "NaN", "nan"],
  ["d", "-Infinity", "-inf"],
  ["d", "-0", "-0.0"],
  ["d", 0.1, "0.10000000000000001"],
  ["b", true, "true"],
  ["s", "ünï\u{1f600}", "'ünï\u{1f600}'"],
  ["o", "/a/b", "objectpath '/a/b'"],
  ["g", "a{sv}(ii)", "signature 'a{sv}(ii)'"],
  ["ay", { $bytes: "AAH/" }, "[byte 0x00, 0x01, 0xff]"],
  ["as", [], "@as []"],
  ["a{us}", { "7": "x" }, "{uint32 7: 'x'}"],
  ["a{bs}", { "true": "x" }, "{true: 'x'}"],
  ["a{ss}", { "constructor": "x" }, "{'constructor': 'x'}"],
  [
    "a{ss}",
    Object.fromEntries([["__proto__", "x"]]),
    "{'__proto__': 'x'}",
  ],
  ["(sa(iv))", ["a", [[1, { $type: "u", value: 2 }]]], "('a', [(1, <uint32 2>)])"],
  ["v", { $type: "v", value: { $type: "n", value: 3 } }, "<<int16 3>>"],
  ["a{sv}", { a: { $type: "ax", value: [1] } }, "{'a': <[int64 1]>}"],
  ["aay", [{ $bytes: "" }, { $bytes: "AA==" }], "[@ay [], b'']"],
];

Deno.test("values go to GLib and come back without loss", async () => {
  await using peer = await echoBus();
  await using bus = await Bus.connect(peer.address);
  for (const [type, json, glib] of VALUES) {
    const args = [{ $type: type, value: json }];
    const printed = await bus.call({ ...TARGET, member: "Print", signature: "v", args });
    assertEquals(printed.values[0] as string, glib, type);
    const back = await bus.call({ ...TARGET, member: "Echo", signature: "v", args });
    assertEquals(back.values, args, type);
    // node:assert does not see an own key named __proto__; text does.
    assertEquals(JSON.stringify(back.values), JSON.stringify(args), type);
    const parsed = await bus.call({
      ...TARGET,
      member: "Parse",
      signature: "ss",
      args: [type, glib],
    });
    assertEquals(parsed.values, args, `${type} written by GLib`);
  }
});

Deno.test("a plain value where a variant is expected gets the nearest type", async () => {
  await using peer = await echoBus();
  await using bus = await Bus.connect(peer.address);
  for (
    const [value, type] of [
      ["x", "s"],
      [1, "i"],
      [2 ** 40, "x"],
      [0.5, "d"],
      [
        true,
        "b",
      ],
      [["a"], "as"],
      [{ a: 1 }, "a{sv}"],
    ] as [Json, string][]
  ) {
    const reply = await bus.call({
      ...TARGET,
      member: "Echo",
      signature: "v",
      args: [value],
    });
    assertEquals((reply.values[0] as { $type: string }).$type, type);
  }
});

Deno.test("a value that does not fit is refused with its place, and nothing is sent", async () => {
  await using peer = await echoBus();
  await using bus = await Bus.connect(peer.address);
  const cases: [string, Json, string][] = [
    ["y", 256, "/0: expected an integer from 0 to 255"],
    ["i", 1.5, "/0: expected a 32-bit integer"],
    ["x", "9223372036854775808", "/0: expected a 64-bit integer"],
    ["t", 2 ** 53, "/0: expected an unsigned 64-bit integer"],
    ["s", null, "/0: expected a string"],
    ["s", "a\0b", "/0: a string holds a NUL"],
    ["o", "/a/", "/0: expected an object path"],
    [
      "a(si)",
      [["a", 1], ["b", "c"]],
      '/0/1/1: expected a 32-bit integer (D-Bus type i), got "c"',
    ],
    ["a{sv}", { "a/b": { $type: "ii", value: 1 } }, "/0/a~1b: "],
    ["h", 0, "file descriptors cannot be passed"],
    ["a{ys}", { "300": "" }, "/0/300: expected an integer from 0 to 255"],
  ];
  const before = bus.roundTrips;
  for (const [signature, value, expected] of cases) {
    const error = await assertRejects(
      () => bus.call({ ...TARGET, member: "Echo", signature, args: [value] }),
      ValueError,
    );
    assertIncludes(error.message, expected);
  }
  for (
    const bad of [{ path: "/a//b" }, { destination: "x" }, { member: "a.b" }, {
      interface: "X",
    }]
  ) {
    await assertRejects(
      () => bus.call({ ...TARGET, member: "Echo", ...bad }),
      ValueError,
    );
  }
  assertEquals(bus.closedBecause, null);
  assertEquals(
    (await bus.driver("GetNameOwner", "s", ["org.test.Echo"]) as string)[0],
    ":",
  );
  assertEquals(bus.roundTrips - before <= cases.length + 1, true);
});

Deno.test("errors are typed by their D-Bus name, the service's text cannot paint", async () => {
  await using peer = await echoBus();
  await using bus = await Bus.connect(peer.address);
  const fail = (name: string, text = "") =>
    bus.call({ ...TARGET, member: "Fail", signature: "ss", args: [name, text] });
  for (
    const name of [
      "org.freedesktop.DBus.Error.AccessDenied",
      "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
      "org.freedesktop.Accounts.Error.PermissionDenied",
      "org.fedoraproject.slip.dbus.service.PolKit.NotAuthorizedException",
    ]
  ) assertEquals((await rejectsAs(fail(name), "permission_denied")).dbusName, name);
  const own = await rejectsAs(fail("org.test.Own", "a\x1b[31m\nb"), "dbus_error");
  assertIncludes(own.message, /org\.test\.Own: a \[31m b$/);
  assertEquals(own.detail, "a\x1b[31m\nb");
  const call = { ...TARGET, member: "Nothing" };
  await rejectsAs(bus.call(call), "dbus_unknown");
  await rejectsAs(bus.call({ ...call, destination: "org.test.Gone" }), "dbus_no_service");
});

Deno.test("a call that hangs ends by timeout, by abort, and when the service dies", async () => {
  await using peer = await echoBus();
  await using bus = await Bus.connect(peer.address);
  const hang = { ...TARGET, member: "Hang" };
  await rejectsAs(bus.call(hang, { timeoutMs: 30 }), "dbus_timeout");
  const stop = new AbortController();
  const aborted = bus.call(hang, { signal: stop.signal });
  stop.abort(new InputError("stopped", "stopped"));
  await assertRejects(() => aborted, InputError, /stopped/);
  const dying = bus.call(hang);
  await rejectsAs(bus.call({ ...TARGET, member: "Die" }), "dbus_timeout"); // NoReply
  await rejectsAs(dying, "dbus_timeout");
});

Deno.test("what is pending when the bus dies fails at once, and so does every later call", async () => {
  await using peer = await echoBus();
  await using bus = await Bus.connect(peer.address);
  const told = new Promise<string>((resolve) => bus.onClosed(resolve));
  const pending = [1, 2, 3].map(() => bus.call({ ...TARGET, member: "Hang" }));
  const settled = Promise.allSettled(pending);
  await bus.driver("GetId");
  await peer.kill();
  for (const result of await settled) {
    assertEquals(result.status, "rejected");
    assertEquals((result as PromiseRejectedResult).reason.code, "dbus_closed");
  }
  assertIncludes(await told, "closed");
  await rejectsAs(bus.driver("GetId"), "dbus_closed");
});

Deno.test("2,000 calls at once stay under the bus's limit", async () => {
  await using peer = await echoBus(
    '<limit name="max_replies_per_connection">100</limit>',
  );
  await using bus = await Bus.connect(peer.address);
  const calls = Array.from(
    { length: 2000 },
    (_, i) => bus.call({ ...TARGET, member: "Echo", signature: "v", args: [i] }),
  );
  const values = (await Promise.all(calls)).map((reply) =>
    (reply.values[0] as { value: number }).value
  );
  assertEquals(values, Array.from({ length: 2000 }, (_, i) => i));
  // Without the gate the limit bites: the test is able to fail.
  await using rash = await Bus.connect(peer.address, { maxInFlight: 1000 });
  const burst = Array.from(
    { length: 1000 },
    () => rash.call({ ...TARGET, member: "Hang" }, { timeoutMs: 500 }),
  );
  const errors = await Promise.allSettled(burst);
  assertEquals(
    errors.some((r) => r.status === "rejected" && /LimitsExceeded/.test(r.reason)),
    true,
  );
});

Deno.test("signals arrive from the right sender only, and match rules are removed", async () => {
  await using peer = await echoBus();
  await using bus = await Bus.connect(peer.address);
  const rules = async () => {
    const stats = await bus.call({
      destination: "org.freedesktop.DBus",
      path: "/org/freedesktop/DBus",
      interface: "org.freedesktop.DBus.Debug.Stats",
      member: "GetConnectionStats",
      signature: "s",
      args: [bus.uniqueName],
    });
    const dict = stats.values[0] as Record<string, { value: number }>;
    return dict.MatchRules!.value;
  };
  const before = await rules();
  const heard: Json[] = [];
  const rule = { sender: "org.test.Echo", interface: "org.test.Echo", member: "Shouted" };
  const first = await bus.subscribe(rule, (signal) => heard.push(signal.args[0]!));
  const second = await bus.subscribe(rule, (signal) => heard.push(signal.args[0]!));
  await bus.call({ ...TARGET, member: "Shout", signature: "s", args: ["a"] });
  // Somebody else emits the same signal straight at us: not from the service.
  await client(
    peer.address,
    "gdbus",
    "emit",
    "--session",
    "--dest",
    bus.uniqueName,
    "--object-path",
    "/org/test/Echo",
    "--signal",
    "org.test.Echo.Shouted",
    "'forged'",
  );
  await bus.call({ ...TARGET, member: "Shout", signature: "s", args: ["b"] });
  assertEquals(heard, ["a", "a", "b", "b"]);
  await first[Symbol.asyncDispose]();
  await bus.call({ ...TARGET, member: "Shout", signature: "s", args: ["c"] });
  assertEquals(heard.slice(4), ["c"]);
  await second[Symbol.asyncDispose]();
  assertEquals(await rules(), before);
});

Deno.test("a bus that is no bus: nothing there, silence, garbage, refusal", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/s`;
  await rejectsAs(Bus.connect(`unix:path=${folder.path}/none`), "dbus_unreachable");
  const refused = "REJECTED EXTERNAL\r\n";
  for (
    const [answer, expected] of [
      ["", "no answer in time"],
      [refused, /authentication|closed/],
      ["OK 1234\r\n" + "x".repeat(64), "the bus broke the protocol"],
    ] as [string, string | RegExp][]
  ) {
    const listener = Deno.listen({ transport: "unix", path });
    const served = (async () => {
      const connection = await listener.accept();
      for (const _attempt of [1, 2]) {
        await connection.read(new Uint8Array(1024));
        if (answer) await connection.write(new TextEncoder().encode(answer));
        if (answer !== refused) break;
      }
      return connection;
    })();
    const error = await rejectsAs(
      Bus.connect(`unix:path=${path}`, { connectTimeoutMs: 300 }),
      "dbus_unreachable",
    );
    assertIncludes(error.message, expected);
    (await served).close();
    listener.close();
  }
  for (
    const bad of ["unix:abstract=x", "nonsense", "unix:path=/a:b", "tcp:host=x", "unix:"]
  ) await assertRejects(() => Bus.connect(bad), InputError, /Cannot use the bus address/);
});

/** A bus of this test's own: takes one client in, then answers its calls one by one. */
function ownBus(
  path: string,
  answers: readonly ((serial: number) => Uint8Array<ArrayBuffer>)[],
) {
  const listener = Deno.listen({ transport: "unix", path });
  const served = (async () => {
    const connection = await listener.accept();
    const receive = async () => {
      const bytes = new Uint8Array(4096);
      const count = await connection.read(bytes);
      return bytes.subarray(0, count ?? 0);
    };
    await receive();
    await connection.write(new TextEncoder().encode("OK 1234\r\n"));
    let seen = "";
    while (!seen.includes("Hello")) seen += new TextDecoder().decode(await receive());
    const hello = { signature: "s", body: [":1.1"] };
    await connection.write(reply(1, hello));
    for (const [i, answer] of answers.entries()) {
      await receive();
      await connection.write(answer(i + 2));
    }
    return connection;
  })();
  return {
    async [Symbol.asyncDispose]() {
      (await served).close();
      listener.close();
    },
  };
}

function reply(serial: number, more: { signature: string; body: Json[] }) {
  const sender = "org.freedesktop.DBus";
  const flags = 1, type = METHOD_RETURN;
  return messageBytes({ type, flags, serial, replySerial: serial, sender, ...more });
}

Deno.test("garbage in mid-session ends the connection, a body that does not fit only its call", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/s`;
  const misfit = (serial: number) => {
    const bytes = reply(serial, { signature: "u", body: [500] });
    // The header now says that these four bytes are a string.
    const at = bytes.findLastIndex((byte, i) =>
      byte === 0x75 && bytes[i - 1] === 1 && bytes[i + 1] === 0
    );
    return bytes.with(at, 0x73);
  };
  const garbage = () => new TextEncoder().encode("?".repeat(64));
  await using _bus = ownBus(path, [misfit, garbage]);
  await using bus = await Bus.connect(`unix:path=${path}`);
  assertEquals(bus.uniqueName, ":1.1");
  const call = { ...TARGET, member: "Echo" };
  const broken = await rejectsAs(bus.call(call), "dbus_bad_reply");
  assertIncludes(broken.message, "its answer is broken: A value runs past the end");
  assertEquals(bus.closedBecause, null);
  const both = await Promise.allSettled([bus.call(call), bus.call(call)]);
  for (const { reason } of both as PromiseRejectedResult[]) {
    assertEquals(reason.code, "dbus_closed");
    assertIncludes(reason.message, "the bus broke the protocol");
  }
});
