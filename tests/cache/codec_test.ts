import { assertEquals, assertTrue } from "../support/assert.ts";
import { codecById, CODECS, encodeVector } from "../../lib/cache/codec.ts";
import { HEADER_BYTES, packObject, parseObject } from "../../lib/cache/object.ts";
import { denseVector } from "./support.ts";

const KEY = new Uint8Array(32).fill(7);
const SIZES = [1, 2, 3, 5, 384, 385, 1024];
/** 1 - cosine, measured (shared/facts/cache.md), with room to spare. */
const ERROR: Readonly<Record<string, number>> = {
  "f32": 1e-15,
  "f32-zstd": 1e-15,
  "f16": 1e-7,
  "int12": 6e-7,
  "int8": 2e-4,
};

function oneMinusCosine(a: Float32Array, b: Float32Array): number {
  let ab = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    ab += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return 1 - ab / Math.sqrt(aa * bb);
}

function roundTrip(codec: typeof CODECS[keyof typeof CODECS], vector: Float32Array) {
  const encoded = encodeVector(vector, codec);
  const out = new Float32Array(vector.length + 2);
  assertTrue(encoded.codec.decode(encoded.payload, vector.length, out, 1));
  assertEquals([out[0], out[vector.length + 1]], [0, 0], "writes only its own part");
  return { ...encoded, out: out.slice(1, -1) };
}

Deno.test("every codec keeps a vector's direction", () => {
  for (const codec of Object.values(CODECS)) {
    for (const size of SIZES) {
      const vector = denseVector(`v${size}`, size);
      const { out, payload } = roundTrip(codec, vector);
      const error = oneMinusCosine(vector, out);
      assertTrue(error <= ERROR[codec.name]!, `${codec.name} ${size}: ${error}`);
      assertTrue(payload.length <= codec.maxBytes(size), `${codec.name} ${size}`);
      assertEquals(codecById(codec.id), codec);
    }
  }
});

Deno.test("int12 takes 580 bytes of 1536, int8 388", () => {
  const vector = denseVector("size", 384);
  assertEquals(CODECS.int12.encode(vector)!.length, 580);
  assertEquals(CODECS.int8.encode(vector)!.length, 388);
});

Deno.test("int12 and int8 are off by half a step at most, against plain arithmetic", () => {
  for (const [codec, steps] of [[CODECS.int12, 2047], [CODECS.int8, 127]] as const) {
    const vector = denseVector("steps", 384);
    const { out } = roundTrip(codec, vector);
    const largest = vector.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    const half = (largest / steps) * 0.5001;
    vector.forEach((x, i) => assertTrue(Math.abs(x - out[i]!) <= half));
  }
});

Deno.test("what no scale can hold is kept without loss", () => {
  const cases: number[][] = [
    [1e-40, 0, 2e-41],
    [3.4e38, -3.4e38, 1],
    [70_000, 1, -1],
    [1e-7, 2e-7, 3e-7],
  ];
  for (const numbers of cases) {
    const vector = Float32Array.from(numbers);
    for (const codec of Object.values(CODECS)) {
      const { out } = roundTrip(codec, vector);
      assertTrue(out.every(Number.isFinite), `${codec.name} ${numbers}`);
      assertTrue(
        oneMinusCosine(vector.map(Math.fround), out) < 1e-3 || numbers[0]! < 1e-30,
      );
    }
  }
  assertEquals([...roundTrip(CODECS.int12, Float32Array.of(1e-40, 0)).out], [
    Math.fround(1e-40),
    0,
  ]);
  assertEquals(encodeVector(Float32Array.of(70_000, 1), CODECS.f16).codec.name, "f32");
});

Deno.test("a payload of the wrong size, or a zstd bomb, is refused", () => {
  for (const codec of Object.values(CODECS)) {
    const { payload } = encodeVector(denseVector("x", 64), codec);
    const into = new Float32Array(64);
    assertEquals(codec.decode(payload.subarray(1), 64, into, 0), false, codec.name);
    assertEquals(codec.decode(new Uint8Array(), 64, into, 0), false, codec.name);
  }
  const bomb = CODECS["f32-zstd"].encode(new Float32Array(4_000_000))!;
  assertTrue(bomb.length < 10_000);
  assertEquals(CODECS["f32-zstd"].decode(bomb, 384, new Float32Array(384), 0), false);
});

Deno.test("any flipped bit and any cut of a file is seen", () => {
  const { codec, payload } = encodeVector(denseVector("flip", 20), CODECS.int12);
  const file = packObject(KEY, codec, 20, payload);
  assertEquals(file.length, HEADER_BYTES + payload.length);
  assertEquals(parseObject(file, KEY)?.codec, CODECS.int12);
  for (let bit = 0; bit < file.length * 8; bit++) {
    const bad = file.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    assertEquals(parseObject(bad, KEY), null, `bit ${bit}`);
  }
  for (let length = 0; length < file.length; length++) {
    assertEquals(parseObject(file.subarray(0, length), KEY), null, `cut at ${length}`);
  }
  const longer = new Uint8Array(file.length + 1);
  longer.set(file);
  assertEquals(parseObject(longer, KEY), null);
  assertEquals(parseObject(file, new Uint8Array(32)), null, "another file's name");
});
