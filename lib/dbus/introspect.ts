/**
 * Introspection data: what a service says it has. Parsed from XML that is hostile: size,
 * counts and depth are capped, entities are not expanded.
 * Source: D-Bus specification, "Introspection Data Format".
 */
import { OpError } from "../base/errors.ts";
import type { Bus, CallOptions } from "./bus.ts";
import { isInterfaceName, isMemberName, isObjectPath, isSignature } from "./names.ts";

/** Largest document taken; systemd's largest is about 90 kB. */
export const MAX_XML_BYTES = 4 * 1024 * 1024;
const MAX_INTERFACES = 500, MAX_MEMBERS = 2000, MAX_NODES = 10_000;

/** Annotations by name. */
export type Annotations = Readonly<Record<string, string>>;

/** An argument or returned value. */
export interface IntrospectedArg {
  /** Empty where the service does not say. */
  readonly name: string;
  readonly type: string;
}
/** A method. */
export interface IntrospectedMethod {
  readonly name: string;
  readonly in: readonly IntrospectedArg[];
  readonly out: readonly IntrospectedArg[];
  readonly annotations: Annotations;
}
/** A property. */
export interface IntrospectedProperty {
  readonly name: string;
  readonly type: string;
  readonly access: "read" | "write" | "readwrite";
  readonly annotations: Annotations;
}
/** A signal. */
export interface IntrospectedSignal {
  readonly name: string;
  readonly args: readonly IntrospectedArg[];
}
/** An interface of an object. */
export interface IntrospectedInterface {
  readonly name: string;
  readonly methods: readonly IntrospectedMethod[];
  readonly properties: readonly IntrospectedProperty[];
  readonly signals: readonly IntrospectedSignal[];
  readonly annotations: Annotations;
}
/** An object. */
export interface Introspection {
  readonly interfaces: readonly IntrospectedInterface[];
  /** Names of the children, relative to the object. */
  readonly nodes: readonly string[];
  /** Entries that were passed over, because their names or types are not valid. */
  readonly skipped: readonly string[];
}

// What the XML parser makes of an element: attributes with "@", children in arrays.
type Element = { readonly [key: string]: unknown };

/**
 * Parses an introspection document.
 *
 * @param xml the document
 * @param where whose it is, for messages
 * @throws {OpError} `bad_introspection`
 */
export async function parseIntrospection(
  xml: string,
  where: string,
): Promise<Introspection> {
  if (xml.length > MAX_XML_BYTES) throw bad(where, `larger than ${MAX_XML_BYTES} bytes`);
  if (/<!ENTITY/i.test(xml)) throw bad(where, "it declares entities");
  const { XMLParser, XMLValidator } = await import("fast-xml-parser");
  const invalid = XMLValidator.validate(xml);
  if (invalid !== true) throw bad(where, `line ${invalid.err.line}: ${invalid.err.msg}`);
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: "@",
    parseAttributeValue: false,
    parseTagValue: false,
    isArray: (_name, _path, _leaf, isAttribute) => !isAttribute,
    ignoreDeclaration: true,
    ignorePiTags: true,
  });
  let document: Element;
  try {
    document = parser.parse(xml) as Element;
  } catch (error) {
    throw bad(where, error instanceof Error ? error.message : String(error));
  }
  const [root] = elements(document, "node");
  if (!root) throw bad(where, "it has no <node>");
  return readNode(root, where);
}

function bad(where: string, why: string): OpError {
  return new OpError(
    "bad_introspection",
    `Cannot read the introspection of ${where}: ${why.split("\n")[0]}`,
    { hint: "the service is broken; report it to its authors" },
  );
}

function readNode(root: Element, where: string): Introspection {
  const skipped: string[] = [];
  const interfaces: IntrospectedInterface[] = [];
  const all = elements(root, "interface");
  if (all.length > MAX_INTERFACES) throw bad(where, `over ${MAX_INTERFACES} interfaces`);
  for (const element of all) {
    const name = attribute(element, "name");
    if (isInterfaceName(name)) {
      interfaces.push(readInterface(element, name, skipped, where));
    } else skipped.push(name);
  }
  const children = elements(root, "node");
  if (children.length > MAX_NODES) throw bad(where, `over ${MAX_NODES} children`);
  const nodes: string[] = [];
  for (const child of children) {
    const name = attribute(child, "name");
    if (name === "") continue;
    if (isObjectPath(`/${name}`)) nodes.push(name);
    else skipped.push(name);
  }
  return { interfaces, nodes, skipped };
}

function readInterface(
  element: Element,
  name: string,
  skipped: string[],
  where: string,
): IntrospectedInterface {
  const members = <T>(
    kind: string,
    read: (e: Element, name: string) => T | null,
  ): T[] => {
    const all = elements(element, kind);
    if (all.length > MAX_MEMBERS) throw bad(where, `over ${MAX_MEMBERS} of a kind`);
    const found: T[] = [];
    for (const member of all) {
      const memberName = attribute(member, "name");
      const value = isMemberName(memberName) ? read(member, memberName) : null;
      if (value) found.push(value);
      else skipped.push(`${name}.${memberName}`);
    }
    return found;
  };
  return {
    name,
    methods: members("method", readMethod),
    properties: members("property", readProperty),
    signals: members("signal", (e, signal) => {
      const args = readArgs(e);
      return args && { name: signal, args: args.all };
    }),
    annotations: readAnnotations(element),
  };
}

function readMethod(element: Element, name: string): IntrospectedMethod | null {
  const args = readArgs(element);
  const annotations = readAnnotations(element);
  return args && { name, in: args.in, out: args.out, annotations };
}

function readProperty(element: Element, name: string): IntrospectedProperty | null {
  const type = attribute(element, "type"), access = attribute(element, "access");
  if (!isSignature(type) || type === "") return null;
  if (access !== "read" && access !== "write" && access !== "readwrite") return null;
  return { name, type, access, annotations: readAnnotations(element) };
}

function readArgs(element: Element) {
  const all = elements(element, "arg").map((arg) => ({
    name: attribute(arg, "name"),
    type: attribute(arg, "type"),
    out: attribute(arg, "direction") === "out",
  }));
  if (all.some(({ type }) => type === "" || !isSignature(type))) return null;
  const strip = ({ name, type }: IntrospectedArg) => ({ name, type });
  return {
    all: all.map(strip),
    in: all.filter(({ out }) => !out).map(strip),
    out: all.filter(({ out }) => out).map(strip),
  };
}

function readAnnotations(element: Element): Annotations {
  return Object.fromEntries(
    elements(element, "annotation").map((
      a,
    ) => [attribute(a, "name"), attribute(a, "value")]),
  );
}

function elements(parent: Element, name: string): Element[] {
  const found = parent[name];
  if (!Array.isArray(found)) return [];
  return found.map((e) => typeof e === "object" && e !== null ? e as Element : {});
}

function attribute(element: Element, name: string): string {
  const value = element[`@${name}`];
  return typeof value === "string" ? value : "";
}

/**
 * Introspects one object.
 *
 * @returns the parsed data and the XML as it came
 * @throws {BusError} when the call fails
 * @throws {OpError} `bad_introspection`
 */
export async function introspect(
  bus: Bus,
  destination: string,
  path: string,
  options?: CallOptions,
): Promise<{ data: Introspection; xml: string }> {
  const reply = await bus.call({
    destination,
    path,
    interface: "org.freedesktop.DBus.Introspectable",
    member: "Introspect",
  }, options);
  const where = `${destination} at ${path}`;
  const xml = reply.values[0];
  if (typeof xml !== "string") throw bad(where, "the answer is no text");
  return { data: await parseIntrospection(xml, where), xml };
}

/** Limits of {@link walkObjects}. */
export interface WalkOptions extends CallOptions {
  readonly root?: string;
  /** Default 1000. */
  readonly maxObjects?: number;
  /** Default 16. */
  readonly maxDepth?: number;
}

/** One object found by {@link walkObjects}. */
export interface WalkedObject {
  readonly path: string;
  readonly data: Introspection;
  readonly xml: string;
}

/**
 * Introspects a service's object tree, breadth first, a level at a time.
 *
 * @returns the objects and whether a limit cut the walk short
 */
export async function walkObjects(
  bus: Bus,
  destination: string,
  options: WalkOptions = {},
): Promise<{ objects: WalkedObject[]; truncated: boolean }> {
  const { root = "/", maxObjects = 1000, maxDepth = 16, ...call } = options;
  const objects: WalkedObject[] = [];
  let level = [root], truncated = false;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth || objects.length >= maxObjects) {
      return { objects, truncated: true };
    }
    if (objects.length + level.length > maxObjects) truncated = true;
    const here = level.slice(0, maxObjects - objects.length);
    const found = await Promise.all(here.map(async (path) => ({
      path,
      ...await introspect(bus, destination, path, call),
    })));
    objects.push(...found);
    level = found.flatMap(({ path, data }) =>
      data.nodes.map((node) => `${path === "/" ? "" : path}/${node}`)
    );
  }
  return { objects, truncated };
}
