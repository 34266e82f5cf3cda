/**
 * States proposed from names: a property with its setter, `getX` with `setX`, lists with
 * `addX` and `removeX`, switches with `queryX`. What has no pair needs a person.
 */
import { nameWords } from "../dbus/classify.ts";
import type { IntrospectedInterface, IntrospectedProperty } from "../dbus/introspect.ts";
import { parseSignature } from "../dbus/names.ts";
import { type NamedArg, type NamedMethod, snakeCase } from "./mapping_generate.ts";
import { type Block, block } from "./mapping_write.ts";

const ONLY_READ = "Nothing was found that changes it.";
const EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal";

/** The tables of all states that the names suggest. */
export function proposeStates(
  interfaces: readonly IntrospectedInterface[],
  methods: readonly NamedMethod[],
  main: string,
): Block[] {
  const taken = new Set<string>();
  const blocks: Block[] = [];
  const add = (name: string, iface: string, make: (full: string) => Block) => {
    const suffix = snakeCase(iface.slice(iface.lastIndexOf(".") + 1));
    let unique = taken.has(name) ? `${suffix}_${name}` : name;
    for (let n = 2; taken.has(unique); n++) unique = `${suffix}_${name}_${n}`;
    taken.add(unique);
    blocks.push(make(`state.${unique}`));
  };
  for (const iface of interfaces) {
    const own = methods.filter((method) => method.interface === iface.name);
    for (const property of iface.properties) {
      if (property.access === "write") continue;
      add(
        snakeCase(property.name),
        iface.name,
        (name) =>
          propertyState(name, property, own, iface.name === main ? null : iface.name),
      );
    }
    for (const method of own) {
      const proposed = listState(method, own) ?? toggleState(method, own) ??
        getterState(method, own);
      if (proposed) {
        add(proposed.name, iface.name, (name) => block(name, proposed.entries));
      }
    }
  }
  return blocks;
}

/** The words of a method's name after its verb, or null when the verb is another. */
function after(method: NamedMethod, ...verbs: readonly string[]): string | null {
  const [first, ...rest] = nameWords(method.method.name);
  return first !== undefined && verbs.includes(first) && rest.length > 0
    ? rest.join(" ")
    : null;
}

/** Arguments that must be given: those with no value of their own. */
function open(args: readonly NamedArg[]): readonly NamedArg[] {
  return args.filter(({ value }) => value === undefined);
}

function propertyState(
  name: string,
  property: IntrospectedProperty,
  own: readonly NamedMethod[],
  iface: string | null,
): Block {
  const words = nameWords(property.name).join(" ");
  const setter = own.find((method) => {
    const args = open(method.args);
    return method.callable && after(method, "set") === words && args.length === 1 &&
      args[0]!.type === property.type;
  });
  const read = { property: property.name, interface: iface ?? undefined };
  const writable = property.access === "readwrite";
  const constant = property.annotations[EMITS] === "const" ? " It never changes." : "";
  const comment = setter || writable ? undefined : ONLY_READ + constant;
  const write = setter
    ? { method: setter.name, arg: open(setter.args)[0]!.name }
    : writable
    ? { property: property.name, interface: iface ?? undefined }
    : undefined;
  return block(name, { kind: "value", type: property.type, read, write }, comment);
}

interface Proposal {
  readonly name: string;
  readonly entries: Record<string, unknown>;
}

/** `getX` and `setX`, perhaps both with a key before the value. */
function getterState(getter: NamedMethod, own: readonly NamedMethod[]): Proposal | null {
  const words = after(getter, "get", "query");
  const [out, ...more] = getter.method.out;
  if (!words || !getter.safe || !out || more.length > 0) return null;
  const keys = open(getter.args);
  const setter = own.find((method) =>
    after(method, "set") === words && method.callable &&
    sameTypes(open(method.args), [...keys, out])
  );
  if (!setter || keys.length > 1) return null;
  const args = open(setter.args), [key] = keys;
  return {
    name: snakeCase(words.replaceAll(" ", "_")),
    entries: {
      kind: "value",
      type: out.type,
      key: key?.name,
      keys: keysOf(key, own),
      read: { method: getter.name },
      write: {
        method: setter.name,
        ...(key && args[0]!.name !== key.name && { args: { [args[0]!.name]: "$key" } }),
        arg: args.at(-1)!.name,
      },
    },
  };
}

/** The method that lists all keys: `getZones` for the key `zone`. */
function keysOf(key: NamedArg | undefined, own: readonly NamedMethod[]) {
  const words = key && nameWords(key.name).join(" ");
  const lister = words &&
    own.find((method) =>
      method.safe && method.args.length === 0 && method.method.out.length === 1 &&
      method.method.out[0]!.type === `a${key.type}` &&
      isPlural(after(method, "get", "list") ?? "", words)
    );
  return lister ? { method: lister.name } : undefined;
}

function sameTypes(
  a: readonly { readonly type: string }[],
  b: readonly { readonly type: string }[],
): boolean {
  return a.length === b.length && a.every(({ type }, i) => type === b[i]!.type);
}

/** `getXs` with `addX` and `removeX`. */
function listState(getter: NamedMethod, own: readonly NamedMethod[]): Proposal | null {
  const words = after(getter, "get", "list");
  const [out, ...more] = getter.method.out;
  if (!words || !getter.safe || !out || more.length > 0) return null;
  const keys = open(getter.args);
  if (keys.length > 1) return null;
  const adder = own.find((m) => isPlural(words, after(m, "add")));
  const remover = own.find((m) => isPlural(words, after(m, "remove")));
  if (!adder || !remover || !adder.callable || !remover.callable) return null;
  const removed = open(remover.args);
  const items = removed.slice(keys.length);
  if (!sameTypes(removed.slice(0, keys.length), keys) || items.length === 0) return null;
  if (!listsItems(out.type, items)) return null;
  const added = open(adder.args), extra = added.slice(removed.length);
  if (!sameTypes(added.slice(0, removed.length), removed)) return null;
  const defaults = extra.map(({ name, type }) => [name, neutral(name, type)] as const);
  if (defaults.some(([, value]) => value === undefined)) return null;
  const [key] = keys;
  const names = (args: readonly NamedArg[]) =>
    args.slice(keys.length, removed.length).map(({ name }) => name);
  const keyed = (args: readonly NamedArg[]) =>
    key && args[0]!.name !== key.name ? { [args[0]!.name]: "$key" } : {};
  const filled = { ...keyed(added), ...Object.fromEntries(defaults) };
  const hasFilled = Object.keys(filled).length > 0;
  const hasKeyed = Object.keys(keyed(removed)).length > 0;
  return {
    name: snakeCase(words.replaceAll(" ", "_")),
    entries: {
      kind: "set",
      key: key?.name,
      keys: keysOf(key, own),
      read: { method: getter.name },
      add: {
        method: adder.name,
        item: names(added),
        args: hasFilled ? filled : undefined,
      },
      remove: {
        method: remover.name,
        item: names(removed),
        args: hasKeyed ? keyed(removed) : undefined,
      },
    },
  };
}

/** `services` of `service`, `policies` of `policy`, `addresses` of `address`. */
function isPlural(many: string, one: string | null): boolean {
  return one !== null &&
    (many === `${one}s` || many === `${one}es` || many === one.replace(/y$/, "ies"));
}

/** Whether a list of this type holds items of these parts. */
function listsItems(type: string, items: readonly NamedArg[]): boolean {
  const [list] = parseSignature(type);
  const element = list?.code === "a" ? list.children[0]! : undefined;
  if (!element) return false;
  if (items.length === 1) return element.text === items[0]!.type;
  if (element.code === "(") return sameTypes(types(element.children), items);
  return element.code === "a" &&
    items.every(({ type }) => type === element.children[0]!.text);
}

function types(children: readonly { readonly text: string }[]) {
  return children.map(({ text }) => ({ type: text }));
}

/** What an argument that no item has may safely be: a timeout of none. */
function neutral(name: string, type: string): unknown {
  return /timeout/i.test(name) && "nqiuxt".includes(type) ? 0 : undefined;
}

const SWITCHES = [["add", "remove"], ["enable", "disable"]] as const;

/** `queryX` with `addX` and `removeX`, or `enableX` and `disableX`, of the same arguments. */
function toggleState(query: NamedMethod, own: readonly NamedMethod[]): Proposal | null {
  const words = after(query, "query", "is", "get");
  const [out, ...more] = query.method.out;
  if (!words || !query.safe || out?.type !== "b" || more.length > 0) return null;
  const keys = open(query.args);
  if (keys.length > 1) return null;
  for (const [on, off] of SWITCHES) {
    const enabler = own.find((method) => after(method, on) === words);
    const disabler = own.find((method) => after(method, off) === words);
    if (!enabler?.callable || !disabler?.callable) continue;
    const enabling = open(enabler.args);
    const extra = enabling.slice(keys.length).map(({ name, type }) =>
      [name, neutral(name, type)] as const
    );
    const fits = sameTypes(enabling.slice(0, keys.length), keys) &&
      sameTypes(open(disabler.args), keys) &&
      extra.every(([, value]) => value !== undefined);
    if (!fits) continue;
    const args = extra.length > 0 ? Object.fromEntries(extra) : undefined;
    return {
      name: snakeCase(words.replaceAll(" ", "_")),
      entries: {
        kind: "toggle",
        key: keys[0]?.name,
        keys: keysOf(keys[0], own),
        read: { method: query.name },
        on: { method: enabler.name, args },
        off: { method: disabler.name },
      },
    };
  }
  return null;
}
