import { Layout } from "../../lib/base/layout.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { openCheckpoint, parseNote, signCheckpoint } from "../../lib/chain/checkpoint.ts";
import {
  hostKey,
  keyPath,
  parseVerifierKey,
  publicKeyPath,
  readVerifierKey,
} from "../../lib/chain/host_key.ts";
import { leafHash } from "../../lib/chain/merkle.ts";
import { assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";

async function keyIn(folder: string) {
  const layout = new Layout(folder);
  await Deno.mkdir(layout.meta, { recursive: true });
  return { layout, key: hostKey(layout) };
}

const ROOT = leafHash(new Uint8Array([1]));

Deno.test("openssl accepts a checkpoint's signature, and refuses it over other bytes", async () => {
  await using scratch = await tempFolder();
  const { layout, key } = await keyIn(scratch.path);
  const note = parseNote(signCheckpoint(7, ROOT, key));
  const path = (name: string) => `${scratch.path}/${name}`;
  await Deno.writeFile(path("body"), note.body);
  await Deno.writeFile(path("other"), new Uint8Array([...note.body, 10]));
  await Deno.writeFile(path("sig"), note.signatures[0]!.signature);
  await sh("openssl", "pkey", "-in", keyPath(layout), "-pubout", "-out", path("pub.pem"));
  const check = (file: string) =>
    sh(
      "openssl",
      ...["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", path("pub.pem")],
      ...["-in", path(file), "-sigfile", path("sig")],
    );
  await check("body");
  await assertRejects(() => check("other"), Error);
});

Deno.test("the host's key is made once, for its owner only", async () => {
  await using scratch = await tempFolder();
  const { layout, key } = await keyIn(scratch.path);
  assertEquals((await Deno.stat(keyPath(layout))).mode! & 0o777, 0o600);
  assertEquals(hostKey(layout).text, key.text);
  assertEquals(readVerifierKey(publicKeyPath(layout)).text, key.text);
  await Deno.chmod(keyPath(layout), 0o640);
  assertThrows(() => hostKey(layout), OpError, /others may read it/);
});

Deno.test("a checkpoint is opened by its signer's key only, unchanged only", async () => {
  await using scratch = await tempFolder();
  const { key } = await keyIn(scratch.path);
  await using elsewhere = await tempFolder();
  const other = (await keyIn(elsewhere.path)).key;
  const text = signCheckpoint(7, ROOT, key);
  const verifier = parseVerifierKey(key.text);
  assertEquals(openCheckpoint(text, verifier).size, 7);
  assertThrows(() => openCheckpoint(text, other), InputError, /has not signed/);
  for (let at = 0; at < text.length; at++) {
    const flipped = String.fromCharCode(text.charCodeAt(at) ^ 1);
    const bent = text.slice(0, at) + flipped + text.slice(at + 1);
    assertThrows(() => openCheckpoint(bent, verifier), InputError, /Cannot trust/);
  }
  for (
    const bad of ["", "\n\n", "a\n1\n\n", `x\n-1\n${ROOT.toBase64()}\n\n— x AAAAAAAA\n`]
  ) {
    assertThrows(() => openCheckpoint(bad, verifier), InputError);
  }
});

Deno.test("a verifier key with one letter changed is refused", async () => {
  await using scratch = await tempFolder();
  const { text } = (await keyIn(scratch.path)).key;
  for (let at = 0; at < text.length; at++) {
    const bent = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
    assertThrows(() => parseVerifierKey(bent), InputError, /verifier key/);
  }
});
