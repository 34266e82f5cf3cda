/**
 * SHA-256's compression as WebAssembly text. Written out by a program because the rounds
 * are sixteen times the same but for the names. Source: FIPS 180-4, sections 5.3 and 6.2.
 */

/** Where things are in the module's one page of memory, bytes. */
export const SHA256_AT = { constants: 0, start: 256 } as const;

const PRIMES = primes(64);

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) {
    if (found.every((prime) => n % prime !== 0)) found.push(n);
  }
  return found;
}

/** The first 32 bits of a number's fraction. */
function fraction(x: number): number {
  return Math.floor((x - Math.floor(x)) * 2 ** 32);
}

/** Words as the bytes of a data segment. */
function data(words: readonly number[]): string {
  const bytes = new Uint8Array(Uint32Array.from(words).buffer);
  return [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
}

const get = (name: string) => `(local.get $${name})`;
const set = (name: string, value: string) => `(local.set $${name} ${value})`;
const op = (name: string, a: string, b: string) => `(i32.${name} ${a} ${b})`;
const add = (...terms: string[]): string =>
  terms.reduce((sum, term) => op("add", sum, term));
const turn = (x: string, bits: number) => op("rotr", x, `(i32.const ${bits})`);
const shift = (x: string, bits: number) => op("shr_u", x, `(i32.const ${bits})`);
const xor = (a: string, b: string, c: string) => op("xor", op("xor", a, b), c);
/** The bytes of a word the other way round. */
const swap = (x: string) =>
  op(
    "or",
    op("and", op("rotl", x, "(i32.const 8)"), "(i32.const 0x00ff00ff)"),
    op("and", op("rotr", x, "(i32.const 8)"), "(i32.const 0xff00ff00)"),
  );

const NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"] as const;

/** Round `t` of sixteen; the variables change places instead of their values. */
function round(t: number): string {
  const [a, b, c, d, e, f, g, h] = NAMES.map((_, i) => NAMES[(i - t % 8 + 8) % 8]!);
  const [ae, be, ce, ee, fe, ge] = [a, b, c, e, f, g].map((name) => get(name!));
  const choice = op("xor", ge!, op("and", ee!, op("xor", fe!, ge!)));
  const majority = op(
    "or",
    op("and", ae!, be!),
    op("and", ce!, op("or", ae!, be!)),
  );
  const constant = `(i32.load offset=${SHA256_AT.constants + t * 4} ${get("k")})`;
  const one = add(
    get(h!),
    xor(turn(ee!, 6), turn(ee!, 11), turn(ee!, 25)),
    choice,
    constant,
    get(`w${t}`),
  );
  return [
    set(h!, one),
    set(d!, add(get(d!), get(h!))),
    set(
      h!,
      add(get(h!), xor(turn(ae!, 2), turn(ae!, 13), turn(ae!, 22)), majority),
    ),
  ].join("\n");
}

/** Word `t` of the next sixteen. */
function schedule(t: number): string {
  const w = (i: number) => get(`w${(t + i) % 16}`);
  const early = xor(turn(w(1), 7), turn(w(1), 18), shift(w(1), 3));
  const late = xor(turn(w(14), 17), turn(w(14), 19), shift(w(14), 10));
  return set(`w${t}`, add(w(0), early, w(9), late));
}

/**
 * The module. Exports `memory` and `blocks(from, source, count, to, digest)`: the state at
 * `from` takes in `count` blocks of 64 bytes at `source` and goes to `to`, as a digest's
 * bytes where `digest` is not zero.
 */
export function sha256Wat(): string {
  const all = Array.from({ length: 16 }, (_, t) => t);
  const offset = (i: number) => `offset=${i * 4} align=1`;
  const h0 = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
  const constants = PRIMES.map((prime) => fraction(Math.cbrt(prime)));
  return `(module
(memory (export "memory") 1)
(data (i32.const ${SHA256_AT.constants}) "${data(constants)}")
(data (i32.const ${SHA256_AT.start}) "${data(h0)}")
(func (export "blocks") (param $from i32) (param $source i32) (param $count i32)
  (param $to i32) (param $digest i32)
(local $k i32) ${all.map((t) => `(local $w${t} i32)`).join(" ")}
${NAMES.map((name) => `(local $${name} i32) (local $${name}0 i32)`).join(" ")}
${NAMES.map((n, i) => set(n, `(i32.load ${offset(i)} ${get("from")})`)).join("\n")}
(loop $block
${NAMES.map((name) => set(`${name}0`, get(name))).join("\n")}
${
    all.map((t) => set(`w${t}`, swap(`(i32.load ${offset(t)} ${get("source")})`))).join(
      "\n",
    )
  }
${set("k", "(i32.const 0)")}
${all.map(round).join("\n")}
(loop $more
${set("k", add(get("k"), "(i32.const 64)"))}
${all.map((t) => `${schedule(t)}\n${round(t)}`).join("\n")}
(br_if $more (i32.lt_u ${get("k")} (i32.const 192))))
${NAMES.map((name) => set(name, add(get(name), get(`${name}0`)))).join("\n")}
${set("source", add(get("source"), "(i32.const 64)"))}
${set("count", op("sub", get("count"), "(i32.const 1)"))}
(br_if $block ${get("count")}))
(if ${get("digest")} (then
${NAMES.map((name) => set(name, swap(get(name)))).join("\n")}))
${NAMES.map((n, i) => `(i32.store ${offset(i)} ${get("to")} ${get(n)})`).join("\n")}
))
`;
}
