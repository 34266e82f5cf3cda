/**
 * Text from strangers that ends on a terminal: control characters paint it, line breaks
 * forge lines of output, bidirectional controls show another order than is there.
 */

const NOT_IN_A_LINE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
const NOT_IN_TEXT = /[^\P{Cc}\t\n]|\p{Bidi_Control}/u;

/** True for one line that a terminal shows as it is. */
export function isPlainLine(text: string): boolean {
  return !NOT_IN_A_LINE.test(text);
}

/** {@link isPlainLine}, with tabs and line breaks. */
export function isPlainText(text: string): boolean {
  return !NOT_IN_TEXT.test(text);
}

/** The text with whatever is not plain escaped as `\u{...}`, cut to a length. */
export function asPlainLine(text: string, maxLength = 200): string {
  const cut = text.length > maxLength ? text.slice(0, maxLength) + "…" : text;
  return cut.replace(
    new RegExp(NOT_IN_A_LINE, "gu"),
    (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`,
  );
}
