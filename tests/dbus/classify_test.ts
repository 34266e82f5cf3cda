import { assertEquals, assertTrue } from "../support/assert.ts";
import { classifyMethod, nameWords } from "../../lib/dbus/classify.ts";
import type { IntrospectedMethod } from "../../lib/dbus/introspect.ts";
import { parseSignature } from "../../lib/dbus/names.ts";

const LIST = new URL("../data/dbus/methods.tsv", import.meta.url);
const ANNOTATIONS: Readonly<Record<string, string>> = {
  Privileged: "org.freedesktop.systemd1.Privileged",
  NoReply: "org.freedesktop.DBus.Method.NoReply",
};

function methods(): { full: string; method: IntrospectedMethod; safe: boolean }[] {
  const lines = Deno.readTextFileSync(LIST).trim().split("\n");
  return lines.filter((line) => !line.startsWith("#")).map((line) => {
    const [full, input, output, annotations, label] = line.split("\t");
    const args = (signature: string) =>
      parseSignature(signature).map(({ text }) => ({ name: "", type: text }));
    const marks = annotations!.split(",").filter((mark) => mark !== "");
    return {
      full: full!,
      safe: label === "safe",
      method: {
        name: full!.slice(full!.lastIndexOf(".") + 1),
        in: args(input!),
        out: args(output!),
        annotations: Object.fromEntries(
          marks.map((mark) => [ANNOTATIONS[mark]!, "true"]),
        ),
      },
    };
  });
}

Deno.test("of 600 labelled methods none that is unsafe is called safe", () => {
  const all = methods();
  assertTrue(all.length > 600, `only ${all.length} methods`);
  const wrong = all.filter(({ method, safe }) => !safe && classifyMethod(method).safe);
  assertEquals(wrong.map(({ full }) => full), []);
});

Deno.test("most methods that are safe are called so", () => {
  const safe = methods().filter((entry) => entry.safe);
  const found = safe.filter(({ method }) => classifyMethod(method).safe);
  assertTrue(found.length / safe.length >= 0.9, `${found.length} of ${safe.length}`);
});

Deno.test("a raw prefix would not do: names are split into words", () => {
  assertEquals(nameWords("CancelScheduledShutdown"), ["cancel", "scheduled", "shutdown"]);
  assertEquals(nameWords("GetUnitByPID"), ["get", "unit", "by", "pid"]);
  assertEquals(nameWords("SetX11Keyboard"), ["set", "x", "11", "keyboard"]);
  assertEquals(nameWords("is_immutable"), ["is", "immutable"]);
});

Deno.test("annotations, fd arguments and a missing answer make a reading name unsafe", () => {
  const base = {
    name: "GetThing",
    in: [],
    out: [{ name: "", type: "s" }],
    annotations: {},
  };
  assertEquals(classifyMethod(base).safe, true);
  const privileged = { ...base, annotations: { [ANNOTATIONS.Privileged!]: "true" } };
  assertEquals(classifyMethod(privileged).classifiedBy, "annotation");
  assertEquals(classifyMethod(privileged).safe, false);
  assertEquals(
    classifyMethod({ ...base, annotations: { [ANNOTATIONS.NoReply!]: "true" } }).safe,
    false,
  );
  const fd = classifyMethod({ ...base, in: [{ name: "", type: "a{sh}" }] });
  assertEquals([fd.safe, fd.callable], [false, false]);
  assertEquals(classifyMethod({ ...base, out: [] }).safe, false);
});
