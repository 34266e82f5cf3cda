/** What is published: built twice it is the same, and it is what it says it is. */
import { Ajv } from "npm:ajv@8.17.1";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { executable } from "./executable.ts";

const REPO = new URL("../../", import.meta.url).pathname;
/** The schemas' place: CycloneDX publishes them inside its npm package. */
const CYCLONEDX = "npm:@cyclonedx/cyclonedx-library@10.3.0";

/** What a build needs; not the repository, so that it is built in another place. */
const SOURCES = [
  "deno.json",
  "deno.lock",
  "main.ts",
  "ffi",
  "lib",
  "packaging",
  "scripts",
];

async function compileIn(folder: string, dist: string, ...flags: string[]) {
  for (const name of SOURCES) await sh("cp", "-r", `${REPO}${name}`, folder);
  const { commit } = JSON.parse(await sh(executable(), "version", "--json"));
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "scripts/compile.ts", "--dist", dist, ...flags],
    cwd: folder,
    env: {
      // No repository there: the commit is told.
      GIT_CEILING_DIRECTORIES: folder.slice(0, folder.lastIndexOf("/")),
      ...(commit !== null && { SOURCE_COMMIT: commit }),
      OPDBUS_SIGN_PASSWORD: "test",
      SOURCE_DATE_EPOCH: "1700000000",
    },
    stdout: "null",
    stderr: "piped",
  }).output();
  assertTrue(success, new TextDecoder().decode(stderr));
}

Deno.test("built again in another folder, everything published is the same", async () => {
  await using scratch = await tempFolder();
  const built = executable().replace(/\/[^/]+$/, ""), again = `${scratch.path}/dist`;
  await compileIn(scratch.path, again);
  const sums = await Deno.readTextFile(`${built}/SHA256SUMS`);
  assertEquals(await Deno.readTextFile(`${again}/SHA256SUMS`), sums);
  assertIncludes(sums, /^[0-9a-f]{64} {2}op-dbus-linux-\w+$/m);
  assertIncludes(sums, /^[0-9a-f]{64} {2}man\/op-dbus\.1$/m);
  assertIncludes(sums, /^[0-9a-f]{64} {2}systemd\/op-dbus\.service$/m);
  assertIncludes(sums, /^[0-9a-f]{64} {2}dbus\/org\.opdbus1\.conf$/m);
  // sha256sum's own word on it.
  const { success } = await new Deno.Command("sha256sum", {
    args: ["-c", "--quiet", "SHA256SUMS"],
    cwd: again,
  }).output();
  assertTrue(success);
});

Deno.test("the bill of materials is valid CycloneDX and names the runtime", async () => {
  const { localPath } = Object.values(
    JSON.parse(await sh(Deno.execPath(), "info", "--json", CYCLONEDX)).npmPackages,
  ).find((found) =>
    (found as { name: string }).name === "@cyclonedx/cyclonedx-library"
  ) as { localPath: string };
  const schema = (name: string) =>
    JSON.parse(
      Deno.readTextFileSync(`${localPath}/res/schema/${name}.SNAPSHOT.schema.json`),
    );
  const ajv = new Ajv({ strict: false, validateFormats: false });
  ajv.addSchema(schema("spdx"), "http://cyclonedx.org/schema/spdx.SNAPSHOT.schema.json");
  ajv.addSchema(
    schema("jsf-0.82"),
    "http://cyclonedx.org/schema/jsf-0.82.SNAPSHOT.schema.json",
  );
  const validate = ajv.compile(schema("bom-1.5"));
  const name = `op-dbus-linux-${Deno.build.arch}.cdx.json`;
  const folder = executable().replace(/\/[^/]+$/, "");
  const document = JSON.parse(await Deno.readTextFile(`${folder}/${name}`));
  const names = document.components.map((component: { name: string }) => component.name);
  for (const wanted of ["deno", "libonnxruntime.so.1", "@stricli/core"]) {
    assertTrue(names.includes(wanted), wanted);
  }
  const valid: boolean = validate(document);
  assertTrue(valid, JSON.stringify(validate.errors));
  for (const { name, purl, licenses, hashes } of document.components) {
    assertIncludes(purl, /^pkg:npm\/[^@]+@\d/);
    assertTrue(licenses?.length > 0 && hashes?.length > 0, `${name}: licence and digest`);
  }
});
