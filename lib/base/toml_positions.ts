/**
 * Where each key of a TOML document stands. smol-toml tells the place of a syntax error
 * only; a wrong type or a missing key needs one too.
 *
 * Reads documents that smol-toml has accepted, so it only has to follow structure.
 * Source: TOML 1.0 and 1.1, toml.io.
 */

/** A place in a text, both from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A key's path; numbers are places in arrays. */
export type KeyPath = readonly (string | number)[];

/** Finds the line and column of keys. */
export class TomlPositions {
  readonly #offsets = new Map<string, number>();
  readonly #lengths = new Map<string, number>();
  #at = 0;

  /** @param text a document that parses */
  constructor(readonly text: string) {
    this.#document();
  }

  /** The place of a key; null where it is not written. */
  locate(path: KeyPath): Position | null {
    const offset = this.#offsets.get(JSON.stringify(path));
    return offset === undefined ? null : positionAt(this.text, offset);
  }

  /** The place of a key, or of the nearest parent that is written in the file. */
  find(path: KeyPath): Position {
    for (let length = path.length; length > 0; length--) {
      const place = this.locate(path.slice(0, length));
      if (place) return place;
    }
    return { line: 1, column: 1 };
  }

  #document(): void {
    let table: KeyPath = [];
    for (;;) {
      this.#skipBlank();
      if (this.#at >= this.text.length) return;
      if (this.text[this.#at] === "[") table = this.#header();
      else this.#pair(table);
    }
  }

  #header(): KeyPath {
    const start = this.#at;
    const array = this.text.startsWith("[[", start);
    this.#at += array ? 2 : 1;
    const keys = this.#key();
    this.#at = this.text.indexOf("]", this.#at) + (array ? 2 : 1);
    let path: (string | number)[] = [];
    keys.forEach((key, i) => {
      path = [...path, key];
      const id = JSON.stringify(path);
      const length = this.#lengths.get(id);
      if (array && i === keys.length - 1) {
        this.#lengths.set(id, (length ?? 0) + 1);
        path = [...path, length ?? 0];
      } else if (length !== undefined) path = [...path, length - 1];
    });
    this.#note(path, start);
    return path;
  }

  #pair(table: KeyPath): void {
    const start = this.#at;
    const keys = this.#key();
    for (let i = 1; i <= keys.length; i++) {
      this.#note([...table, ...keys.slice(0, i)], start);
    }
    this.#at = this.text.indexOf("=", this.#at) + 1;
    this.#skipBlank();
    this.#value([...table, ...keys]);
  }

  /** The first note of a path wins: its definition, not a later extension. */
  #note(path: KeyPath, offset: number): void {
    const id = JSON.stringify(path);
    if (!this.#offsets.has(id)) this.#offsets.set(id, offset);
  }

  #key(): string[] {
    const keys: string[] = [];
    for (;;) {
      this.#skipBlank();
      const start = this.#at, quote = this.text[start];
      if (quote === '"' || quote === "'") {
        this.#string();
        keys.push(unquote(this.text.slice(start, this.#at)));
      } else {
        this.#at = end(this.text, start, /[^A-Za-z0-9_-]/g);
        keys.push(this.text.slice(start, this.#at));
      }
      this.#skipBlank();
      if (this.text[this.#at] !== ".") return keys;
      this.#at++;
    }
  }

  #value(path: KeyPath): void {
    const first = this.text[this.#at];
    if (first === '"' || first === "'") this.#string();
    else if (first === "[") this.#array(path);
    else if (first === "{") this.#inlineTable(path);
    else this.#at = end(this.text, this.#at, /[,\]}#\n]/g);
  }

  #array(path: KeyPath): void {
    this.#at++;
    for (let index = 0;; index++) {
      this.#skipSeparators();
      if (this.#at >= this.text.length) return;
      if (this.text[this.#at] === "]") break;
      this.#note([...path, index], this.#at);
      this.#value([...path, index]);
    }
    this.#at++;
  }

  #inlineTable(path: KeyPath): void {
    this.#at++;
    for (;;) {
      this.#skipSeparators();
      if (this.#at >= this.text.length) return;
      if (this.text[this.#at] === "}") break;
      this.#pair(path);
    }
    this.#at++;
  }

  #string(): void {
    const quote = this.text[this.#at]!;
    const long = this.text.startsWith(quote.repeat(3), this.#at);
    const closing = quote.repeat(long ? 3 : 1);
    let at = this.#at + closing.length;
    while (at < this.text.length && !this.text.startsWith(closing, at)) {
      at += quote === '"' && this.text[at] === "\\" ? 2 : 1;
    }
    at += closing.length;
    // A long string may end in up to two quotes of its own before the closing three.
    while (long && this.text[at] === quote) at++;
    this.#at = at;
  }

  #skipBlank(): void {
    this.#skip(/[ \t\r\n]/);
  }

  #skipSeparators(): void {
    this.#skip(/[ \t\r\n,]/);
  }

  #skip(pattern: RegExp): void {
    for (;;) {
      const char = this.text[this.#at];
      if (char === undefined) return;
      if (char === "#") this.#at = end(this.text, this.#at, /\n/g);
      else if (pattern.test(char)) this.#at++;
      else return;
    }
  }
}

function end(text: string, from: number, stop: RegExp): number {
  stop.lastIndex = from;
  return stop.exec(text)?.index ?? text.length;
}

function unquote(quoted: string): string {
  if (quoted.startsWith("'")) return quoted.slice(1, -1);
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return quoted.slice(1, -1); // escapes that only TOML has: shown as they are written
  }
}

/** Line and column of an offset. */
export function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const start = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - start + 1 };
}
