/**
 * The shape of a JavaScript regular expression under the flag `u`, read strictly: what is
 * not known here is refused, never passed over.
 */

/** A piece that matches by itself, without its quantifier. */
export interface Atom {
  readonly source: string;
  /** Matches one code point or nothing: no choice, no state. */
  readonly single: boolean;
  /** Matches no character: a look around, a word's edge. */
  readonly assertion: boolean;
  /** What a group or a look around holds, one sequence per alternative. */
  readonly inner: readonly (readonly Item[])[];
}

/** An atom with its quantifier. */
export interface Item {
  readonly atom: Atom;
  readonly min: number;
  /** Infinity where there is no limit. */
  readonly max: number;
  /** With the quantifier. */
  readonly source: string;
}

/** Why an expression is refused; the text is for the user's message. */
export class UnsafeRegex extends Error {}

/** Deeper groups are refused. The known ones are four deep. */
const MAX_DEPTH = 20;

const GROUP = /\((?:\?(?:[:=!]|<[=!]|<\w+>))?/y;
const CLASS = /\[(?:[^\]\\]|\\[^])*\]/y;
/** Escapes of more than one character; none of them refers to a group. */
const LONG_ESCAPE =
  /\\(?:[pP]\{[\w=]+\}|u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|c[A-Za-z])/y;
const QUANTIFIER = /(?:[*+?]|\{(\d+)(,?)(\d*)\})(\??)/y;

/**
 * Reads an expression.
 *
 * @param source of a `RegExp` with the flag `u`, which has checked the grammar
 * @returns one sequence per alternative
 * @throws {UnsafeRegex} for a back-reference, or a piece that is not known
 */
export function readRegex(source: string): Item[][] {
  const reader = new Reader(source);
  const alternatives = reader.alternatives(0);
  if (!reader.atEnd) throw new UnsafeRegex("it has a closing parenthesis too many");
  return alternatives;
}

class Reader {
  #at = 0;
  constructor(readonly source: string) {}

  get atEnd(): boolean {
    return this.#at >= this.source.length;
  }

  /** Up to a closing parenthesis or the end. */
  alternatives(depth: number): Item[][] {
    if (depth > MAX_DEPTH) throw new UnsafeRegex("its groups are nested too deeply");
    const all: Item[][] = [];
    let items: Item[] = [];
    while (!this.atEnd && this.source[this.#at] !== ")") {
      if (this.source[this.#at] === "|") {
        this.#at++;
        all.push(items);
        items = [];
      } else items.push(this.#item(depth));
    }
    return [...all, items];
  }

  #item(depth: number): Item {
    const start = this.#at;
    const atom = this.#atom(depth);
    const found = this.#take(QUANTIFIER);
    let min = 1, max = 1;
    if (found) {
      const [text, low, comma, high, lazy] = found;
      if (low === undefined) {
        min = text[0] === "+" ? 1 : 0;
        max = text[0] === "?" ? 1 : Infinity;
      } else {
        min = Number(low);
        max = high ? Number(high) : comma ? Infinity : min;
      }
      if (lazy && max === Infinity) {
        throw new UnsafeRegex("it has a repetition that takes as little as it can");
      }
    }
    return { atom, min, max, source: this.source.slice(start, this.#at) };
  }

  #atom(depth: number): Atom {
    const start = this.#at, first = this.source[start];
    if (first === "(") return this.#group(depth);
    if (first === "[") {
      if (!this.#take(CLASS)) throw new UnsafeRegex("it has an open character class");
    } else if (first !== "\\") {
      this.#at += String.fromCodePoint(this.source.codePointAt(start)!).length;
    } else if (!this.#take(LONG_ESCAPE)) {
      const escaped = this.source[start + 1] ?? "";
      if (/[1-9k]/.test(escaped)) throw new UnsafeRegex("it refers back to a group");
      // \0, classes as \s, edges, and punctuation; u allows no other letter.
      this.#at += 2;
    }
    const source = this.source.slice(start, this.#at);
    const assertion = source === "^" || source === "$" || /^\\[bB]$/.test(source);
    return { source, single: !assertion, assertion, inner: [] };
  }

  #group(depth: number): Atom {
    const start = this.#at;
    const open = this.#take(GROUP)![0];
    if (open === "(" && this.source[this.#at] === "?") {
      throw new UnsafeRegex("it has a group of a kind that is not known");
    }
    const inner = this.alternatives(depth + 1);
    if (this.source[this.#at] !== ")") throw new UnsafeRegex("it has an open group");
    this.#at++;
    const assertion = /[=!]$/.test(open);
    const source = this.source.slice(start, this.#at);
    return { source, single: !assertion && isSingle(inner), assertion, inner };
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.source);
    if (found) this.#at = pattern.lastIndex;
    return found;
  }
}

/** One code point with looks around before it: how an intersection of classes is written. */
function isSingle(inner: readonly (readonly Item[])[]): boolean {
  if (inner.length !== 1) return false;
  const last = inner[0]!.at(-1);
  return last !== undefined && last.atom.single && last.min === 1 && last.max === 1 &&
    inner[0]!.slice(0, -1).every(({ atom }) => atom.assertion);
}
