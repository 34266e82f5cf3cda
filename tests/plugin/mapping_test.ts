import { assertEquals, assertIncludes, assertThrows } from "../support/assert.ts";
import { InputError } from "../../lib/base/errors.ts";
import { checkMapping, formatProblem, parseMapping } from "../../lib/plugin/mapping.ts";

const SEED = `
[methods.create_container]
safe = false
requires_confirmation = true
dbus_method = "CreateContainer"
args = ["id", "template", "config"]

[methods]
delete_container = { safe = false, requires_confirmation = true }
`;

const FIREWALL = `
[service]
bus = "system"
name = "org.fedoraproject.FirewallD1"
path = "/org/fedoraproject/FirewallD1"
interface = "org.fedoraproject.FirewallD1.zone"

[methods.get_services]
dbus_method = "getServices"
args = [{ name = "zone", type = "s" }]
safe = true

[methods.add_service]
dbus_method = "addService"
args = [{ name = "zone", type = "s" }, { name = "service", type = "s" }, { name = "timeout", type = "i", value = 0 }]
safe = false
requires_confirmation = true
ok_errors = ["ALREADY_ENABLED"]

[methods.remove_service]
dbus_method = "removeService"
args = [{ name = "zone", type = "s" }, { name = "service", type = "s" }]

[state.services]
kind = "set"
key = "zone"
read = { method = "get_services" }
add = { method = "add_service", item = ["service"] }
remove = { method = "remove_service", item = ["service"] }
`;

function problems(text: string): string[] {
  return checkMapping(text, "m.toml").problems.map(formatProblem);
}

Deno.test("a mapping in the seed's form is valid and unsafe by default", () => {
  const mapping = parseMapping(SEED.replace("[methods]\n", "[methods.x]\n"), "m.toml");
  const method = mapping.methods.get("create_container")!;
  assertEquals(method.args.map((arg) => arg.name), ["id", "template", "config"]);
  assertEquals(method.safe, false);
  const inline = parseMapping(
    "[methods]\ndelete_container = { requires_confirmation = true }",
    "m",
  );
  const deletion = inline.methods.get("delete_container")!;
  assertEquals([deletion.dbusMethod, deletion.safe], ["DeleteContainer", false]);
});

Deno.test("the measured firewalld mapping parses whole", () => {
  const mapping = parseMapping(FIREWALL, "m.toml");
  assertEquals(problems(FIREWALL), []);
  assertEquals(mapping.methods.get("add_service")!.args[2], {
    name: "timeout",
    type: "i",
    value: 0,
  });
  assertEquals(mapping.states.get("services")!.add!.item, ["service"]);
});

Deno.test("a wrong type is reported with file, line, column and key", () => {
  assertEquals(problems(FIREWALL.replace("safe = true", 'safe = "yes"')), [
    'm.toml:11:1: methods.get_services.safe: must be boolean, not "yes"',
  ]);
});

Deno.test("all problems are reported at once, unknown keys as warnings", () => {
  const text = FIREWALL.replace("ok_errors", "ok_errorz")
    .replace('kind = "set"', 'kind = "bag"').replace('type = "i"', 'type = "zz"');
  assertEquals(problems(text), [
    "m.toml:15:94: methods.add_service.args[2].type: is not one D-Bus type",
    "m.toml:18:1: methods.add_service.ok_errorz: unknown key (did you mean ok_errors?)",
    'm.toml:25:1: state.services.kind: must be ("value" | "set" | "toggle" | "record" | "collection"), not "bag"',
  ]);
});

Deno.test("states that read through an unsafe or unknown method are refused", () => {
  assertIncludes(
    problems(FIREWALL.replace("safe = true", "safe = false")).join(),
    'm.toml:27:10: state.services.read.method: "get_services" is not marked safe',
  );
  assertIncludes(
    problems(FIREWALL.replace('method = "get_services"', 'method = "get_service"'))
      .join(),
    'did you mean "get_services"?',
  );
});

Deno.test("an argument that the method lacks is refused", () => {
  assertIncludes(
    problems(
      FIREWALL.replace(
        '"add_service", item = ["service"]',
        '"add_service", item = ["svc"]',
      ),
    )
      .join(),
    '"add_service" has no argument "svc"; it has: zone, service, timeout',
  );
});

Deno.test("a cycle between states is named", () => {
  const state = (name: string, after: string) =>
    `[state.${name}]\nkind = "value"\nread = { property = "X" }\nafter = ["${after}"]\n`;
  const text = '[service]\nname = "a.b"\n' + state("a", "b") + state("b", "c") +
    state("c", "a");
  assertIncludes(problems(text).join(), "is a cycle: a -> b -> c -> a");
});

Deno.test("states come in the order of application", () => {
  const text = `[service]\nname = "a.b"
[state.late]\nkind = "value"\nread = { property = "X" }\nafter = ["early"]
[state.early]\nkind = "value"\nread = { property = "Y" }`;
  assertEquals([...parseMapping(text, "m").states.keys()], ["early", "late"]);
});

Deno.test("what is no TOML is refused with its line", () => {
  const error = assertThrows(() => parseMapping("a = 1\nb = [\n", "m.toml"), InputError);
  assertIncludes(error.message, /^m\.toml:3:1: not TOML/);
});

Deno.test("hostile mappings: too large, bad names, prototype keys, deep nesting", () => {
  assertThrows(() => parseMapping("#".repeat(3e6), "m"), InputError, /larger/);
  for (
    const text of [
      '[service]\nname = "no dots"',
      '[service]\nname = "a.b"\npath = "/a/"',
      '[service]\nname = "a.b"\nbus = "ftp:x"',
      '[methods."a b"]\nsafe = true',
      `[methods.x]\nargs = ${"[".repeat(5000)}`,
      '[methods.x]\ndbus_method = "A.B"',
    ]
  ) assertThrows(() => parseMapping(text, "m"), InputError);
  const polluted = parseMapping("[methods.__proto__]\nsafe = true", "m");
  assertEquals(({} as { safe?: boolean }).safe, undefined);
  assertEquals(polluted.methods.size <= 1, true);
});
