/** schemas/*.schema.json: up to date, and of one mind with op-dbus about real files. */
import { Ajv } from "ajv";
import { parse } from "smol-toml";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { parseManifest } from "../../lib/plugin/manifest.ts";
import { schemas } from "../../scripts/schemas.ts";
import { index, indexPlugin } from "./kit.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const EXAMPLES = `${ROOT}examples/op-dbus-plugins`;
const NAMES = [...Deno.readDirSync(EXAMPLES)].filter((entry) => entry.isDirectory)
  .map((entry) => entry.name).sort();

function validator(name: string): (value: unknown) => boolean {
  const ajv = new Ajv({ strict: false, validateFormats: false });
  const validate = ajv.compile(JSON.parse(schemas().get(`${name}.schema.json`)!));
  return (value) => validate(value) as boolean;
}

Deno.test("the schema files are what the definitions give (deno run -A scripts/schemas.ts)", () => {
  for (const [name, text] of schemas()) {
    assertEquals(Deno.readTextFileSync(`${ROOT}schemas/${name}`), text, name);
  }
});

Deno.test("an independent validator accepts every example's files", () => {
  const manifest = validator("plugin"), mapping = validator("semantic-mapping");
  const state = validator("state");
  for (const name of NAMES) {
    const read = (file: string) => Deno.readTextFileSync(`${EXAMPLES}/${name}/${file}`);
    assertTrue(manifest(parse(read("plugin.toml"))), name);
    assertTrue(mapping(parse(read("semantic-mapping.toml"))), name);
    for (const entry of Deno.readDirSync(`${EXAMPLES}/${name}/examples`)) {
      assertTrue(
        state(JSON.parse(read(`examples/${entry.name}`))),
        `${name} ${entry.name}`,
      );
    }
  }
  const repository = parse(Deno.readTextFileSync(`${EXAMPLES}/repository.toml`));
  assertTrue(validator("repository")(repository));
  assertTrue(
    validator("index")(index({ plugins: { lxc: indexPlugin("lxc", ["1.0.0"]) } })),
  );
});

Deno.test("validator and op-dbus refuse the same manifests", () => {
  const schema = validator("plugin");
  const good = 'name = "lxc"\nversion = "1.2.0"\nauthor = "me"\n';
  const cases: [string, boolean][] = [
    [good, true],
    [`[plugin]\n${good}`, true],
    [`[plugin]\n${good}[capabilities]\nquery = true\n`, true],
    [good.replace("lxc", "LXC"), false],
    [good.replace("1.2.0", "1.2"), false],
    [good.replace('author = "me"', ""), false],
    [good.replace('"me"', "3"), false],
    [good + 'requires_proxmox = "yes"\n', false],
    [good + "dependencies = [1]\n", false],
    [`plugin = 3\n`, false],
  ];
  for (const [text, valid] of cases) {
    assertEquals(schema(parse(text)), valid, text);
    assertEquals(parseManifest(text).value !== null, valid, text);
  }
});
