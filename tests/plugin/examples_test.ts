/** examples/op-dbus-plugins: valid, true to the real interfaces, and installable. */
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";
import { parseIntrospection } from "../../lib/dbus/introspect.ts";
import { livePlugins } from "../../lib/plugin/installed.ts";
import { verifyPlugin } from "../../lib/plugin/manage.ts";
import { parseMapping } from "../../lib/plugin/mapping.ts";
import type { Host } from "../../lib/plugin/requirements.ts";
import { validatePlugin } from "../../lib/plugin/validate.ts";
import { generateSecretKey, serve } from "./kit.ts";
import {
  EXAMPLE_NAMES as NAMES,
  EXAMPLES,
  filesOf,
  publishExamples,
  testHost,
} from "./repo_kit.ts";

Deno.test("every example is valid, without a warning", () => {
  for (
    const wanted of [
      "firewalld",
      "hostname",
      "lxc",
      "net",
      "netmaker",
      "packagekit",
      "systemd",
    ]
  ) {
    assertTrue(NAMES.includes(wanted), wanted);
  }
  for (const name of NAMES) {
    const { valid, problems, mapping } = validatePlugin(`${EXAMPLES}/${name}`);
    assertEquals([valid, problems], [true, []], name);
    assertTrue(mapping!.methods.size > 0, name);
  }
});

/** Where Debian keeps the interfaces of services that need not run for this. */
async function realInterface(name: string): Promise<string | null> {
  if (["systemd", "netmaker"].includes(name)) {
    return await sh("/lib/systemd/systemd", "--bus-introspect=/org/freedesktop/systemd1");
  }
  if (name !== "packagekit") return null;
  const file = "/usr/share/dbus-1/interfaces/org.freedesktop.PackageKit.xml";
  // The file is made for documentation: it has entities, which no service sends.
  return (await Deno.readTextFile(file)).replace(/<!DOCTYPE[^>[]*(\[[^\]]*\])?>/, "")
    .replace(/&[A-Z_]+;/g, "");
}

Deno.test("methods and properties are those of the real interfaces", async () => {
  for (const name of ["netmaker", "packagekit", "systemd"]) {
    const file = `${EXAMPLES}/${name}/semantic-mapping.toml`;
    const mapping = parseMapping(Deno.readTextFileSync(file), file);
    const { interfaces } = await parseIntrospection((await realInterface(name))!, name);
    for (const method of mapping.methods.values()) {
      const where = `${name}: ${method.dbusMethod}`;
      const own = method.interface ?? mapping.service!.interface;
      const real = interfaces.find((one) => one.name === own)
        ?.methods.find((one) => one.name === method.dbusMethod);
      assertTrue(real, where);
      const types = (args: readonly { type?: string }[]) => args.map((arg) => arg.type);
      assertEquals(types(method.args), types(real.in), where);
      assertEquals(types(method.returns), types(real.out), where);
    }
    for (const state of mapping.states.values()) {
      const property = state.read?.property;
      if (property === undefined) continue;
      const real = interfaces.find((one) => one.name === mapping.service!.interface)
        ?.properties.find((one) => one.name === property);
      assertEquals(real?.type, state.type, `${name}: ${property}`);
    }
  }
});

/** A host that has whatever the examples want. */
const ABLE: Host = {
  hasCommand: () => true,
  hasBusName: () => Promise.resolve(true),
  kernelRelease: () => "6.1.0",
  isProxmox: () => true,
};

platformTest(
  "packed, signed, indexed, served, installed: all of them, verified",
  async () => {
    await using scratch = await btrfsScratch(512);
    const folder = `${scratch.path}/repo`, root = `${scratch.path}/root`;
    Deno.mkdirSync(root);
    const key = generateSecretKey();
    const { built, pages } = await publishExamples(folder, key);
    assertEquals(Object.keys(built.index.plugins), NAMES);
    assertEquals(pages.length, NAMES.length + 1);
    const readme = Deno.readTextFileSync(`${folder}/lxc/README.md`);
    assertIncludes(
      readme,
      "| `create_container` | `CreateContainer` | `id, template, config` | changes, asks |",
    );
    assertIncludes(
      Deno.readTextFileSync(`${folder}/README.md`),
      "[netmaker](netmaker/README.md)",
    );

    await using server = serve(filesOf(folder));
    const host = testHost(root, server.url, [key]);
    await host.install(NAMES, { host: ABLE });
    assertEquals(livePlugins(host.place.layout).map((plugin) => plugin.name), NAMES);
    for (const name of NAMES) {
      assertEquals(verifyPlugin(host.place.layout, name).ok, true, name);
      const mapping = Deno.readTextFileSync(
        `${root}/@plugin-${name}/semantic-mapping.toml`,
      );
      assertEquals(
        mapping,
        Deno.readTextFileSync(`${EXAMPLES}/${name}/semantic-mapping.toml`),
      );
    }
  },
);
