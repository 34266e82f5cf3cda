import { crc32c, crcBuffer } from "../../lib/stream/crc32c.ts";
import { CRC32C_BASE64 } from "../../lib/stream/crc32c_wasm.ts";
import { buildCrc32c } from "../../scripts/lib/build_kernel.ts";
import { assertEquals } from "../support/assert.ts";

/** RFC 3720, B.4: usual CRC-32C, which inverts before and after. */
function inverted(bytes: Uint8Array): number {
  return (crc32c(bytes, 0xffffffff) ^ 0xffffffff) >>> 0;
}

Deno.test("crc32c gives the values of RFC 3720", () => {
  assertEquals(inverted(new Uint8Array(32)), 0x8a9136aa);
  assertEquals(inverted(new Uint8Array(32).fill(255)), 0x62a8ab43);
  assertEquals(inverted(Uint8Array.from({ length: 32 }, (_, n) => n)), 0x46dd794e);
  assertEquals(inverted(Uint8Array.from({ length: 32 }, (_, n) => 31 - n)), 0x113fdb5c);
});

Deno.test("the fast routine agrees with the table at every length and alignment", () => {
  const buffer = crcBuffer(100_000);
  for (let at = 0; at < 100_000; at++) buffer.bytes[at] = (at * 2654435761) >>> 13;
  for (let length = 0; length < 100; length++) {
    for (let start = 0; start < 17; start++) {
      const piece = buffer.bytes.subarray(start, start + length);
      assertEquals(buffer.crc(start, length), crc32c(piece), `${start}+${length}`);
    }
  }
  // A block of sixteen lanes is 16,384 bytes: just below, at and past one, two and more.
  for (const blocks of [1, 2, 5]) {
    for (const more of [-17, -1, 0, 1, 15, 16, 17, 1024]) {
      const length = blocks * 16_384 + more, piece = buffer.bytes.subarray(5, 5 + length);
      assertEquals(buffer.crc(5, length), crc32c(piece), `${length}`);
    }
  }
  assertEquals(buffer.crc(3, 99_990), crc32c(buffer.bytes.subarray(3, 99_993)));
});

Deno.test("the routine is what its text says", async () => {
  assertEquals(CRC32C_BASE64, (await buildCrc32c()).toBase64(), "run build_kernel.ts");
});
