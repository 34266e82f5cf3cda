/**
 * CRC-32C as WebAssembly text, written out by a program because its steps repeat.
 *
 * Sixteen lanes side by side, each a stretch of {@link CRC_LANE_BYTES}: a vector holds one
 * byte of each lane, a lane's state lies in four vectors, and a table of 256 words is
 * looked up by halves of a byte, which is one shuffle for all lanes. The lanes are put
 * together by shifting what came before past a lane's zero bytes. What is left over goes
 * by slicing-by-16.
 *
 * Source: RFC 3720 appendix B.4 for the polynomial; M. Kounavis and F. Berry, "Novel Table
 * Lookup-Based Algorithms for High-Performance CRC Generation", 2008; M. Adler, crc32c.c
 * (zlib's author), for putting lanes together.
 */
import { CRC_AT, CRC_LANE_BYTES, CRC_SLICES } from "../../lib/stream/crc32c_tables.ts";

const LANES = 16;
const all = Array.from({ length: LANES }, (_, i) => i);

const get = (name: string) => `(local.get $${name})`;
const set = (name: string, value: string) => `(local.set $${name} ${value})`;
const i32 = (value: number) => `(i32.const ${value})`;
const bin = (op: string, a: string, b: string) => `(${op} ${a} ${b})`;
const advance = (name: string, bytes: number) =>
  set(name, bin("i32.add", get(name), i32(bytes)));
const byteOf = (word: string, byte: number) =>
  bin("i32.and", byte ? bin("i32.shr_u", word, i32(byte * 8)) : word, i32(255));

/** Bytes 0, 1, 2, .. of both vectors in turn; of their upper halves where `high`. */
function interleave(a: string, b: string, high: boolean): string {
  const from = high ? 8 : 0;
  const order = all.map((i) => (i % 2 ? 16 : 0) + from + (i >> 1));
  return `(i8x16.shuffle ${order.join(" ")} ${get(a)} ${get(b)})`;
}

/**
 * Turns sixteen vectors of a lane's bytes each into sixteen of a byte's lanes each. Four
 * times the same: the first half is dealt into the second like two halves of a pack of
 * cards. @returns the text, and the names that the result is in
 */
function transpose(): { text: string; names: string[] } {
  let names = all.map((i) => `r${i}`), text = "";
  for (let stage = 0; stage < 4; stage++) {
    const next = all.map((i) => `${"st"[stage % 2]}${i}`);
    for (let i = 0; i < LANES / 2; i++) {
      for (const high of [false, true]) {
        const value = interleave(names[i]!, names[i + LANES / 2]!, high);
        text += set(next[2 * i + (high ? 1 : 0)]!, value) + "\n";
      }
    }
    names = next;
  }
  return { text, names };
}

/** One byte more of each lane. The relaxed shuffle is exact here: no index is over 15. */
function step(column: string): string {
  const half = (name: string, plane: number) =>
    `(i8x16.relaxed_swizzle ${get(`${name}${plane}`)} ${get(name)})`;
  const lines = [
    set("low", bin("v128.xor", get("p0"), get(column))),
    set(
      "high",
      bin("v128.and", `(i16x8.shr_u ${get("low")} ${i32(4)})`, get("nibble")),
    ),
    set("low", bin("v128.and", get("low"), get("nibble"))),
  ];
  for (let plane = 0; plane < 4; plane++) {
    const looked = bin("v128.xor", half("low", plane), half("high", plane));
    const moved = plane < 3 ? bin("v128.xor", get(`p${plane + 1}`), looked) : looked;
    lines.push(set(`p${plane}`, moved));
  }
  return lines.join("\n");
}

/** The lanes' states from the four vectors, put together in `crc`. */
function join(): string {
  const store = [0, 1, 2, 3].map((plane) =>
    `(v128.store offset=${CRC_AT.scratch + plane * 16} ${i32(0)} ${get(`p${plane}`)})`
  );
  const lanes = all.map((lane) => {
    const bytes = [0, 1, 2, 3].map((plane) => {
      const byte = `(i32.load8_u offset=${CRC_AT.scratch + plane * 16 + lane} ${i32(0)})`;
      return plane ? bin("i32.shl", byte, i32(plane * 8)) : byte;
    });
    const past = [0, 1, 2, 3].map((byte) => {
      const index = bin("i32.shl", byteOf(get("crc"), byte), i32(2));
      return `(i32.load offset=${CRC_AT.shift + byte * 1024} ${index})`;
    });
    // Before the first lane nothing came: its state took in the crc so far.
    const terms = lane ? [...bytes, ...past] : bytes;
    return set("crc", terms.reduce((sum, term) => bin("i32.xor", sum, term)));
  });
  return [...store, ...lanes].join("\n");
}

function lanes(): string {
  const { text, names } = transpose();
  const row = (i: number) =>
    set(`r${i}`, `(v128.load offset=${i * CRC_LANE_BYTES} align=1 ${get("at")})`);
  const first = (plane: number) => {
    const byte = byteOf(get("crc"), plane), none = "(v128.const i32x4 0 0 0 0)";
    return set(`p${plane}`, `(i32x4.replace_lane 0 ${none} ${byte})`);
  };
  return `
${[0, 1, 2, 3].map(first).join("\n")}
${set("end", bin("i32.add", get("at"), i32(CRC_LANE_BYTES)))}
(loop $columns
${all.map(row).join("\n")}
${text}
${names.map(step).join("\n")}
${advance("at", LANES)}
(br_if $columns ${bin("i32.lt_u", get("at"), get("end"))}))
${join()}
${advance("at", (LANES - 1) * CRC_LANE_BYTES)}
${advance("length", -LANES * CRC_LANE_BYTES)}`;
}

/** Sixteen bytes by sixteen tables. */
function slices(): string {
  const words = [0, 1, 2, 3].map((word) => {
    const value = `(i32.load offset=${word * 4} align=1 ${get("at")})`;
    return set(`w${word}`, word ? value : bin("i32.xor", value, get("crc")));
  });
  const terms = all.map((byte) => {
    const index = bin("i32.shl", byteOf(get(`w${byte >> 2}`), byte & 3), i32(2));
    return `(i32.load offset=${(CRC_SLICES - 1 - byte) * 1024} ${index})`;
  });
  return `${words.join("\n")}
${set("crc", terms.reduce((sum, term) => bin("i32.xor", sum, term)))}
${advance("at", 16)}
${advance("length", -16)}`;
}

/** The module: imports the memory `m.m`, exports `c(at, length) -> crc`, seed 0. */
export function crc32cWat(): string {
  const vectors = [
    ...all.flatMap((i) => [`r${i}`, `s${i}`, `t${i}`]),
    ...[0, 1, 2, 3].flatMap((i) => [`p${i}`, `low${i}`, `high${i}`]),
    ...["low", "high", "nibble"],
  ];
  const tables = [0, 1, 2, 3].flatMap((plane) =>
    ["low", "high"].map((half, i) => {
      const offset = CRC_AT.nibbles + (plane * 2 + i) * 16;
      return set(`${half}${plane}`, `(v128.load offset=${offset} ${i32(0)})`);
    })
  );
  const table = bin(
    "i32.shl",
    byteOf(bin("i32.xor", get("crc"), `(i32.load8_u ${get("at")})`), 0),
    i32(2),
  );
  const long = bin("i32.ge_u", get("length"), i32(LANES * CRC_LANE_BYTES));
  return `(module
(import "m" "m" (memory 2))
(func (export "c") (param $at i32) (param $length i32) (result i32)
(local $crc i32) (local $end i32) ${
    [0, 1, 2, 3].map((i) => `(local $w${i} i32)`).join(" ")
  }
${vectors.map((name) => `(local $${name} v128)`).join(" ")}
(if ${long} (then
${set("nibble", `(v128.const i8x16 ${all.map(() => 15).join(" ")})`)}
${tables.join("\n")}
(loop $block
${lanes()}
(br_if $block ${long}))))
(block $short (loop $slice
(br_if $short ${bin("i32.lt_u", get("length"), i32(16))})
${slices()}
(br $slice)))
(block $done (loop $byte
(br_if $done (i32.eqz ${get("length")}))
${set("crc", bin("i32.xor", bin("i32.shr_u", get("crc"), i32(8)), `(i32.load ${table})`))}
${advance("at", 1)}
${advance("length", -1)}
(br $byte)))
${get("crc")}))
`;
}
