import { assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { DifferenceError, InputError } from "../../lib/base/errors.ts";
import {
  formatPublicKey,
  formatSignature,
  parsePublicKey,
  parseSignature,
  publicKeyLine,
} from "../../lib/plugin/minisign/format.ts";
import {
  formatSecretKey,
  generateSecretKey,
  isEncrypted,
  parseSecretKey,
  scryptParameters,
  SENSITIVE,
} from "../../lib/plugin/minisign/secret_key.ts";
import {
  checkSignature,
  digestFile,
  signDigests,
} from "../../lib/plugin/minisign/sign.ts";
import { requireClaim } from "../../lib/plugin/package_signature.ts";
import { verifyFile } from "../../lib/plugin/sign_file.ts";

const CHEAP = { operations: 32768, memoryBytes: 16 * 1024 * 1024 };
const noPassword = () => {
  throw new Error("asked for a password");
};

/** Runs minisign with a line on its standard input. */
async function minisign(input: string, ...args: string[]): Promise<string> {
  const child = new Deno.Command("minisign", {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const out = await child.output();
  const text = new TextDecoder().decode(out.stdout) +
    new TextDecoder().decode(out.stderr);
  if (!out.success) throw new Error(text);
  return text;
}

Deno.test("minisign accepts our keys and signatures, plain and encrypted", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  await Deno.writeTextFile(at("data"), "some bytes\n".repeat(1000));
  const key = generateSecretKey();
  await Deno.writeTextFile(at("k.pub"), formatPublicKey(key));
  const comment = "name:lxc\tversion:1.2.0\ttime:1736935200 ü";
  const signature = signDigests(digestFile(at("data")), key, comment);
  await Deno.writeTextFile(at("data.minisig"), formatSignature(signature));
  const out = await sh("minisign", "-Vm", at("data"), "-p", at("k.pub"));
  assertEquals(out.includes(comment), true, out);
  await sh("minisign", "-Vm", at("data"), "-P", publicKeyLine(key));

  await Deno.writeTextFile(at("plain.key"), await formatSecretKey(key, null));
  await sh("minisign", "-Sm", at("data"), "-s", at("plain.key"), "-x", at("p.minisig"));
  const encrypted = await formatSecretKey(key, "pässword", CHEAP);
  assertEquals(isEncrypted(encrypted), true);
  await Deno.writeTextFile(at("encrypted.key"), encrypted);
  const args = ["-s", at("encrypted.key"), "-x", at("e.minisig"), "-t", "by minisign"];
  await minisign("pässword\n", "-Sm", at("data"), ...args);
  for (const file of ["p.minisig", "e.minisig"]) {
    const theirs = parseSignature(await Deno.readTextFile(at(file)));
    checkSignature(digestFile(at("data")), theirs, key, "data");
  }
});

Deno.test("we accept minisign's keys and signatures, plain and encrypted", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  await Deno.writeTextFile(at("data"), "");
  await sh("minisign", "-GWf", "-p", at("w.pub"), "-s", at("w.key"));
  await minisign("secret\nsecret\n", "-Gf", "-p", at("e.pub"), "-s", at("e.key"));
  for (const name of ["w", "e"]) {
    const pub = parsePublicKey(await Deno.readTextFile(at(`${name}.pub`)));
    const secret = await Deno.readTextFile(at(`${name}.key`));
    assertEquals(isEncrypted(secret), name === "e");
    const key = await parseSecretKey(secret, name === "e" ? () => "secret" : noPassword);
    assertEquals(key.id, pub.id);
    assertEquals(key.key, pub.key);
  }
  await sh("minisign", "-Sm", at("data"), "-s", at("w.key"), "-t", "a comment");
  const theirs = parseSignature(await Deno.readTextFile(at("data.minisig")));
  assertEquals(theirs.trustedComment, "a comment");
  const pub = parsePublicKey(await Deno.readTextFile(at("w.pub")));
  checkSignature(digestFile(at("data")), theirs, pub, "data");
});

Deno.test("scrypt's parameters are libsodium's", () => {
  assertEquals(scryptParameters(SENSITIVE), { N: 2 ** 20, r: 8, p: 1 });
  // crypto_pwhash_scryptsalsa208sha256_*_INTERACTIVE
  assertEquals(scryptParameters({ operations: 524288, memoryBytes: 16777216 }), {
    N: 2 ** 14,
    r: 8,
    p: 1,
  });
});

Deno.test("a wrong password, a damaged key and a greedy one are told apart", async () => {
  const key = generateSecretKey();
  const text = await formatSecretKey(key, "right", CHEAP);
  const wrong = await assertRejects(
    () => parseSecretKey(text, () => "wrong"),
    InputError,
  );
  assertEquals(wrong.code, "wrong_password");
  const plain = await formatSecretKey(key, null);
  const bytes = Uint8Array.fromBase64(plain.split("\n")[1]!);
  for (const at of [60, 80, 110, 150]) {
    const damaged = bytes.slice();
    damaged[at]! ^= 1;
    const file = `c\n${damaged.toBase64()}\n`;
    const error = await assertRejects(() => parseSecretKey(file, noPassword), InputError);
    assertEquals(error.code, "bad_key");
  }
  const greedy = Uint8Array.fromBase64(text.split("\n")[1]!);
  new DataView(greedy.buffer).setBigUint64(46, 2n ** 40n, true);
  const error = await assertRejects(
    () => parseSecretKey(`c\n${greedy.toBase64()}\n`, noPassword),
    InputError,
  );
  assertEquals(error.code, "bad_key");
});

Deno.test("every flipped bit of a signature file's payload is noticed", async () => {
  await using folder = await tempFolder();
  await Deno.writeTextFile(`${folder.path}/data`, "x");
  const digests = digestFile(`${folder.path}/data`);
  const key = generateSecretKey();
  const lines = formatSignature(signDigests(digests, key, "name:a version:1")).split(
    "\n",
  );
  const accepts = (text: string) => {
    try {
      checkSignature(digests, parseSignature(text), key, "data");
      return true;
    } catch (error) {
      if (error instanceof InputError || error instanceof DifferenceError) return false;
      throw error;
    }
  };
  assertEquals(accepts(lines.join("\n")), true);
  await Deno.writeTextFile(`${folder.path}/data`, "y");
  const other = digestFile(`${folder.path}/data`),
    good = parseSignature(lines.join("\n"));
  assertThrows(
    () => checkSignature(other, good, key, "data"),
    DifferenceError,
    /content/,
  );
  for (const line of [1, 3]) {
    const bytes = Uint8Array.fromBase64(lines[line]!);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const changed = lines.with(line, flipped.toBase64()).join("\n");
      assertEquals(accepts(changed), false, `line ${line} bit ${bit}`);
    }
  }
  assertEquals(accepts(lines.with(2, "trusted comment: name:b").join("\n")), false);
  const text = lines.join("\n"), spaced = lines[1]!.replace(/^..../, "$& ");
  for (
    const [changed, why] of [
      [`${text}more\n`, /not four lines/],
      [lines.with(2, "trusted comment: a\u001b[2J").join("\n"), /control characters/],
      [lines.with(0, "trusted comment: x").join("\n"), /line 1/],
      [lines.with(2, "untrusted comment: x").join("\n"), /line 3/],
      [lines.with(1, spaced).join("\n"), /not base64/],
    ] as const
  ) assertThrows(() => parseSignature(changed), InputError, why);
  const line = Uint8Array.fromBase64(publicKeyLine(key));
  line[1] = 0x44; // "ED", which only a signature is
  assertThrows(
    () => parsePublicKey(line.toBase64()),
    InputError,
    /Not a minisign public/,
  );
});

Deno.test("a legacy signature and other files are refused with a reason", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  await Deno.writeTextFile(at("data"), "x");
  await sh("minisign", "-GWf", "-p", at("k.pub"), "-s", at("k.key"));
  await sh("minisign", "-lSm", at("data"), "-s", at("k.key"));
  const legacy = await Deno.readTextFile(at("data.minisig"));
  assertThrows(() => parseSignature(legacy), InputError, /legacy/);
  for (const text of ["", "a\nb\nc\nd\n", "x".repeat(100_000), legacy + "more\n"]) {
    assertThrows(() => parseSignature(text), InputError);
    assertThrows(() => parsePublicKey(text), InputError);
  }
});

Deno.test("a package signed by plain minisign wants its name in the comment", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  const file = at("lxc-v1.2.0.btrfs.zst");
  await Deno.writeTextFile(file, "any bytes");
  await sh("minisign", "-GWf", "-p", at("k.pub"), "-s", at("k.key"));
  const key = parsePublicKey(await Deno.readTextFile(at("k.pub")));
  const wanted = { name: "lxc", version: "1.2.0", from: null };
  const check = () => {
    const { signature, digests } = verifyFile(file, () => key);
    return requireClaim(signature, digests, wanted, file);
  };
  await sh("minisign", "-Sm", file, "-s", at("k.key"));
  const error = assertThrows(
    check,
    DifferenceError,
    /names no plugin, version and digest/,
  );
  assertEquals([error.code, error.hint], [
    "wrong_package",
    "its author has to sign it with: op-dbus sign",
  ]);
  const sha256 = (await sh("sha256sum", file)).slice(0, 64);
  const comment = `timestamp:5\tname:lxc\tversion:1.2.0\tdigest:sha256:${sha256}`;
  await sh("minisign", "-Sm", file, "-s", at("k.key"), "-t", comment);
  assertEquals(check(), { ...wanted, sha256, timestamp: 5 });
  // A difference from another version than it is taken for, or in place of the whole.
  const signature = parseSignature(await Deno.readTextFile(`${file}.minisig`));
  const digests = digestFile(file);
  for (const [said, taken] of [[null, "1.0.0"], ["1.0.0", null], ["1.0.0", "1.1.0"]]) {
    const trustedComment = comment + (said ? `\tfrom:${said}` : "");
    assertThrows(
      () =>
        requireClaim(
          { ...signature, trustedComment },
          digests,
          { ...wanted, from: taken ?? null },
          "f",
        ),
      DifferenceError,
      /it was signed as lxc@1.2.0/,
    );
  }
});
