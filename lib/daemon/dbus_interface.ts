/** What `org.opdbus1` offers, in one table: the XML and the dispatch both come from it. */
import type { Json } from "../dbus/value.ts";

export const BUS_NAME = "org.opdbus1";
export const OBJECT_PATH = "/org/opdbus1";
export const INTERFACE = "org.opdbus1.Manager";
export const PROPERTIES = "org.freedesktop.DBus.Properties";
const INTROSPECTABLE = "org.freedesktop.DBus.Introspectable";
const PEER = "org.freedesktop.DBus.Peer";
/** What is answered at any path. */
export const ANYWHERE: ReadonlySet<string> = new Set([INTROSPECTABLE, PEER]);
const DOCTYPE =
  `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">`;

type Args = readonly (readonly [name: string, type: string])[];

/** One method: its arguments, and what calling it gives, one value per `out`. */
export interface Method<S> {
  readonly in: Args;
  readonly out: Args;
  readonly run: (
    self: S,
    args: readonly Json[],
    path: string,
  ) => readonly Json[] | Promise<Json[]>;
}

/** One property; `const` never changes, `false` changes without a signal. */
export interface Property<S> {
  readonly type: string;
  readonly emits: "const" | "false";
  readonly read: (self: S) => Json;
}

/** A signal's arguments. */
export const SIGNALS = {
  PluginsChanged: [],
  SnapshotCreated: [["target", "s"], ["path", "s"]],
} as const satisfies Record<string, Args>;

/** Methods by interface, then by name. */
export type Interfaces<S> = Readonly<Record<string, Readonly<Record<string, Method<S>>>>>;

/** The interfaces that every object has. */
export function standardInterfaces<S>(
  properties: Readonly<Record<string, Property<S>>>,
  xml: () => string,
  unknown: (what: string) => Error,
): Interfaces<S> {
  const typed = (self: S, { type, read }: Property<S>) => ({
    $type: type,
    value: read(self),
  });
  return {
    [PROPERTIES]: {
      Get: {
        in: [["interface", "s"], ["name", "s"]],
        out: [["value", "v"]],
        run(self, [from, name]) {
          const known = from === INTERFACE && Object.hasOwn(properties, String(name));
          if (!known) throw unknown(`${from}.${name}`);
          return [typed(self, properties[String(name)]!)];
        },
      },
      GetAll: {
        in: [["interface", "s"]],
        out: [["values", "a{sv}"]],
        run: (self, [from]) => [
          Object.fromEntries(
            Object.entries(from === INTERFACE ? properties : {})
              .map(([name, property]) => [name, typed(self, property)]),
          ),
        ],
      },
    },
    [INTROSPECTABLE]: {
      Introspect: {
        in: [],
        out: [["xml", "s"]],
        run: (_self, _args, path) => [path === OBJECT_PATH ? xml() : childrenOf(path)],
      },
    },
    [PEER]: { Ping: { in: [], out: [], run: () => [] } },
  };
}

/** The document of a path above the object: where `busctl tree` goes on. */
function childrenOf(path: string): string {
  const prefix = path.endsWith("/") ? path : `${path}/`;
  if (!OBJECT_PATH.startsWith(prefix)) return `${DOCTYPE}\n<node/>`;
  const child = OBJECT_PATH.slice(prefix.length).split("/")[0]!;
  return `${DOCTYPE}\n<node><node name="${child}"/></node>`;
}

/** The signature of arguments: their types in a row. */
export function signatureOf(args: Args): string {
  return args.map(([, type]) => type).join("");
}

/** The introspection document. */
export function introspection<S>(
  interfaces: Interfaces<S>,
  properties: Readonly<Record<string, Property<S>>>,
): string {
  const args = (list: Args, direction: string) =>
    list.map(([name, type]) => `<arg name="${name}" type="${type}"${direction}/>`);
  const element = (tag: string, name: string, inner: readonly string[]) =>
    inner.length === 0
      ? [`<${tag} name="${name}"/>`]
      : [`<${tag} name="${name}">`, ...inner.map((line) => `  ${line}`), `</${tag}>`];
  const changed = (emits: string) =>
    `<annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="${emits}"/>`;
  const lines = Object.entries(interfaces).flatMap(([name, methods]) => {
    const own = name === INTERFACE;
    return element("interface", name, [
      ...Object.entries(methods).flatMap(([name, method]) =>
        element("method", name, [
          ...args(method.in, ' direction="in"'),
          ...args(method.out, ' direction="out"'),
        ])
      ),
      ...Object.entries(own ? properties : {}).flatMap(([name, { type, emits }]) => [
        `<property name="${name}" type="${type}" access="read">`,
        `  ${changed(emits)}`,
        "</property>",
      ]),
      ...Object.entries(own ? SIGNALS : {})
        .flatMap(([name, list]) => element("signal", name, args(list, ""))),
    ]);
  });
  return `${DOCTYPE}
<node>
${lines.map((line) => `  ${line}`).join("\n")}
</node>`;
}
