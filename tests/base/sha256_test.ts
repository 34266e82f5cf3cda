import { createHash } from "node:crypto";
import { assertEquals } from "../support/assert.ts";
import { seeded } from "../support/random.ts";
import { hexOf, sha256, sha256Hex } from "../../lib/base/sha256.ts";

Deno.test("SHA-256 is OpenSSL's: little, much, and past where the way changes", () => {
  const random = seeded(5);
  const theirs = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  for (const size of [0, 1, 55, 56, 63, 64, 65, 1000, 60_000, 90_000, 10, 200_000, 3]) {
    const bytes = Uint8Array.from({ length: size }, () => Math.floor(random() * 256));
    assertEquals(sha256(bytes).toHex(), theirs(bytes), `${size} bytes`);
    assertEquals(sha256(bytes).constructor, Uint8Array);
    assertEquals(hexOf(bytes), theirs(bytes), `${size} bytes`);
  }
  assertEquals(sha256Hex("ä\ud800"), theirs(new TextEncoder().encode("ä\ud800")));
});

Deno.test("digests that share a buffer do not touch one another", () => {
  const digests = Array.from({ length: 300 }, (_, n) => sha256(Uint8Array.of(n & 255)));
  for (const [n, digest] of digests.entries()) {
    assertEquals(digest.toHex(), hexOf(Uint8Array.of(n & 255)));
  }
});
