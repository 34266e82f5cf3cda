import { assertEquals, assertRejects } from "../support/assert.ts";
import { privateBus, PYTHON } from "../support/private_bus.ts";
import { OpError } from "../../lib/base/errors.ts";
import { Bus } from "../../lib/dbus/bus.ts";
import {
  introspect,
  parseIntrospection,
  walkObjects,
} from "../../lib/dbus/introspect.ts";

const ECHO = new URL("./peers/echo.py", import.meta.url).pathname;
const DOCTYPE =
  '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN" ' +
  '"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n';

Deno.test("introspection gives methods, types, annotations and children", async () => {
  const xml = DOCTYPE + `<node name="/x"><!-- c --><interface name="a.B">
    <method name="M"><arg type="s" name="in" direction="in"/><arg type="as"/>
      <arg type="u" direction="out"/>
      <annotation name="org.freedesktop.DBus.Deprecated" value="true"/></method>
    <property name="P" type="a{sv}" access="readwrite"/>
    <signal name="S"><arg type="s" name="t"/></signal></interface>
    <node name="child"/><node name="deep/er"/></node>`;
  const { interfaces: [iface], nodes, skipped } = await parseIntrospection(xml, "t");
  assertEquals(nodes, ["child", "deep/er"]);
  assertEquals(skipped, []);
  assertEquals(iface!.methods[0], {
    name: "M",
    in: [{ name: "in", type: "s" }, { name: "", type: "as" }],
    out: [{ name: "", type: "u" }],
    annotations: { "org.freedesktop.DBus.Deprecated": "true" },
  });
  assertEquals(iface!.properties[0]!.access, "readwrite");
  assertEquals(iface!.signals[0], { name: "S", args: [{ name: "t", type: "s" }] });
});

Deno.test("entries with names or types that are not valid are passed over and named", async () => {
  const xml = `<node><interface name="bad"/><interface name="a.B">
    <method name="Bad Name"/><method name="BadType"><arg type="zz" direction="in"/></method>
    <method name="__proto__"/><property name="P" type="s" access="maybe"/>
    <method name="Good"/></interface><node name="../etc"/><node name="a//b"/></node>`;
  const { interfaces: [iface], nodes, skipped } = await parseIntrospection(xml, "t");
  assertEquals(iface!.methods.map(({ name }) => name), ["__proto__", "Good"]);
  assertEquals(nodes, []);
  assertEquals(skipped, [
    "bad",
    "a.B.Bad Name",
    "a.B.BadType",
    "a.B.P",
    "../etc",
    "a//b",
  ]);
});

Deno.test("hostile XML is refused: too large, entities, cut off, no node", async () => {
  const many = `<interface name="a.B"/>`.repeat(501);
  for (
    const xml of [
      "<node>" + " ".repeat(5_000_000) + "</node>",
      '<!DOCTYPE n [<!ENTITY a "b">]><node>&a;</node>',
      "<node><interface",
      "<html/>",
      "",
      `<node>${many}</node>`,
      `<node><interface name="a.B">${
        '<method name="M"/>'.repeat(2001)
      }</interface></node>`,
    ]
  ) {
    const error = await assertRejects(() => parseIntrospection(xml, "x"), OpError);
    assertEquals(error.code, "bad_introspection");
  }
});

Deno.test("a real service is walked, with limits", async () => {
  await using peer = await privateBus();
  await peer.start("org.test.Echo", PYTHON, ECHO);
  await using bus = await Bus.connect(peer.address);
  const { data } = await introspect(bus, "org.test.Echo", "/org/test/Echo");
  assertEquals(data.interfaces.some(({ name }) => name === "org.test.Echo"), true);
  const walked = await walkObjects(bus, "org.test.Echo");
  assertEquals(walked.objects.map(({ path }) => path), [
    "/",
    "/org",
    "/org/test",
    "/org/test/Echo",
  ]);
  assertEquals(walked.truncated, false);
  assertEquals(
    (await walkObjects(bus, "org.test.Echo", { maxObjects: 2 })).truncated,
    true,
  );
  assertEquals(
    (await walkObjects(bus, "org.test.Echo", { maxDepth: 1 })).truncated,
    true,
  );
});
