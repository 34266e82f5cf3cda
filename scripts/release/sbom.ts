/**
 * The software bill of materials: every npm package that has a byte in the executable, the
 * runtime, the engines' binaries. CycloneDX 1.5 in JSON. Says nothing of time or place, so
 * that the same source gives the same file.
 */
import { createHash } from "node:crypto";
import { ASSETS } from "../../lib/embed/onnx/assets.ts";
import { type Arch, type Built, bundle, output, TARGETS } from "./build.ts";

/** One thing inside. */
interface Component {
  readonly type: "library" | "platform";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses: readonly ({ license: { id: string } } | { expression: string })[];
  readonly hashes?: readonly { alg: "SHA-256" | "SHA-512"; content: string }[];
}

/** Licences that a package.json does not say in SPDX's terms; read in the package's file. */
const LICENSES: Readonly<Record<string, string>> = {
  "@nornagon/put@0.0.8": "MIT",
  "jsbi@2.0.5": "Apache-2.0",
  "map-stream@0.1.0": "MIT",
  "pause-stream@0.0.11": "MIT OR Apache-2.0",
};

const REPO = new URL("../../", import.meta.url).pathname;

/** `name` and `version` of each npm package whose code is in the bundle. */
async function bundledPackages(): Promise<Map<string, string>> {
  const folder = await Deno.makeTempDir({ prefix: "op-dbus-sbom-" });
  try {
    await bundle(folder, "--sourcemap=external");
    const found = new Map<string, string>();
    for (const { name } of Deno.readDirSync(folder)) {
      if (!name.endsWith(".map")) continue;
      const map = JSON.parse(await Deno.readTextFile(`${folder}/${name}`));
      for (const source of map.sources as string[]) {
        const [, package_, version] =
          source.match(/\/npm\/[^/]+\/((?:@[^/]+\/)?[^/]+)\/(\d[^/]*)\//) ?? [];
        if (package_ && version) found.set(package_, version);
      }
    }
    return found;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Where Deno keeps npm packages, and what the lock file says of them. */
async function npmFacts() {
  const { npmCache } = JSON.parse(await output(Deno.execPath(), ["info", "--json"]));
  const lock = JSON.parse(await Deno.readTextFile(`${REPO}deno.lock`));
  const registries = [...Deno.readDirSync(npmCache)].map(({ name }) => name);
  const license = (name: string, version: string): string => {
    const known = LICENSES[`${name}@${version}`];
    if (known) return known;
    for (const registry of registries) {
      const path = `${npmCache}/${registry}/${name}/${version}/package.json`;
      try {
        const { license } = JSON.parse(Deno.readTextFileSync(path));
        if (typeof license === "string") return license;
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    throw new Error(
      `${name}@${version} does not say its licence: look, and add it to LICENSES`,
    );
  };
  const integrity = (name: string, version: string): string | undefined => {
    const key = Object.keys(lock.npm).find((key) =>
      key === `${name}@${version}` || key.startsWith(`${name}@${version}_`)
    );
    return key === undefined ? undefined : lock.npm[key].integrity;
  };
  return { license, integrity };
}

/** `@scope/name` with its first character encoded, as package URLs want it. */
function purl(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

async function npmComponents(packages: Map<string, string>): Promise<Component[]> {
  const { license, integrity } = await npmFacts();
  return [...packages].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, version]) => {
    const id = license(name, version), digest = integrity(name, version);
    return {
      type: "library",
      "bom-ref": purl(name, version),
      name,
      version,
      purl: purl(name, version),
      licenses: [/\s/.test(id) ? { expression: id } : { license: { id } }],
      ...(digest?.startsWith("sha512-") && {
        hashes: [{
          alg: "SHA-512" as const,
          content: Uint8Array.fromBase64(digest.slice("sha512-".length)).toHex(),
        }],
      }),
    };
  });
}

function denoComponent(arch: Arch, sha256: string): Component {
  const { npm } = TARGETS[arch], { deno } = Deno.version;
  return {
    type: "platform",
    "bom-ref": purl(npm, deno),
    name: "deno",
    version: deno,
    purl: purl(npm, deno),
    licenses: [{ license: { id: "MIT" } }],
    hashes: [{ alg: "SHA-256", content: sha256 }],
  };
}

function engineComponents(arch: Arch): Component[] {
  return Object.values(ASSETS).map((asset) => ({
    type: "library",
    "bom-ref": `${purl(asset.npmPackage, asset.npmVersion)}#${asset.fileName}`,
    name: asset.fileName,
    version: asset.npmVersion,
    purl: `${purl(asset.npmPackage, asset.npmVersion)}#${asset.npmPath[arch]}`,
    licenses: [{ license: { id: "MIT" } }],
    hashes: [{ alg: "SHA-256", content: asset.sha256[arch] }],
  }));
}

/**
 * @param denoSha256 digest of the runtime inside
 * @returns the document as text
 */
export async function billOfMaterials(
  built: Built,
  arch: Arch,
  denoSha256: string,
): Promise<string> {
  const packages = await bundledPackages();
  const components = [
    denoComponent(arch, denoSha256),
    ...engineComponents(arch),
    ...await npmComponents(packages),
  ];
  const digest = createHash("sha256").update(JSON.stringify([built.commit, components]))
    .digest();
  return JSON.stringify(
    {
      bomFormat: "CycloneDX",
      specVersion: "1.5",
      serialNumber: `urn:uuid:${uuidFrom(digest)}`,
      version: 1,
      metadata: {
        component: {
          type: "application",
          "bom-ref": "op-dbus",
          name: "op-dbus",
          version: built.version,
          licenses: [{ license: { id: "MIT" } }],
          ...(built.commit && {
            properties: [{ name: "op-dbus:commit", value: built.commit }],
          }),
        },
      },
      components,
      dependencies: [
        {
          ref: "op-dbus",
          dependsOn: components.map((component) => component["bom-ref"]),
        },
      ],
    },
    null,
    2,
  ) + "\n";
}

/** A UUID of version 8 (RFC 9562: content of one's own) from a digest. */
function uuidFrom(digest: Uint8Array): string {
  const bytes = new Uint8Array(digest.subarray(0, 16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
