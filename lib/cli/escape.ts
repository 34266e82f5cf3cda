/** Text from outside: no control character of it reaches a terminal. */

/** On one line: a line's end is escaped, too. */
export function printable(text: string): string {
  return multiLine(text).replaceAll("\n", "\\x0a");
}

/** With its line ends. */
export function multiLine(text: string): string {
  return text.replace(
    /(?!\n)\p{Cc}/gu,
    (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
  );
}
