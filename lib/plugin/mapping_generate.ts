/** A mapping from introspection data: every method, and states by pairs of names. */
import { classifyMethod, nameWords } from "../dbus/classify.ts";
import type {
  IntrospectedArg,
  IntrospectedInterface,
  IntrospectedMethod,
} from "../dbus/introspect.ts";
import { proposeStates } from "./mapping_pairs.ts";
import { type Block, block } from "./mapping_write.ts";

/** What a mapping is generated from. */
export interface GenerateInput {
  readonly bus: string;
  readonly service: string;
  readonly path: string;
  /** The service's main interface. */
  readonly interface: string;
  /** All interfaces of the object that are to be mapped, the main one among them. */
  readonly interfaces: readonly IntrospectedInterface[];
}

/** A method with the name that the mapping gives it. */
export interface NamedMethod {
  readonly name: string;
  readonly interface: string;
  readonly method: IntrospectedMethod;
  readonly args: readonly NamedArg[];
  readonly safe: boolean;
  readonly callable: boolean;
}

/** An argument with a name that is unique in its method. */
export interface NamedArg {
  readonly name: string;
  readonly type: string;
  readonly value?: unknown;
}

/** What was generated. */
export interface Generated {
  readonly blocks: readonly Block[];
  readonly methods: readonly NamedMethod[];
  /** Names of states proposed. */
  readonly states: readonly string[];
}

/** Interfaces that every object has, and the one that dbusmock adds. */
const COMMON =
  /^org\.freedesktop\.DBus\.(Introspectable|Peer|Properties|ObjectManager|Mock)$/;

/** True for an interface that says something about this service. */
export function isOwnInterface(name: string): boolean {
  return !COMMON.test(name);
}

/** Generates a mapping's tables. */
export function generateMapping(input: GenerateInput): Generated {
  const main = input.interfaces.find(({ name }) => name === input.interface);
  const others = input.interfaces.filter((iface) => iface !== main);
  const ordered = main ? [main, ...others] : others;
  const methods = nameMethods(ordered);
  const service = block("service", {
    bus: input.bus,
    name: input.service,
    path: input.path,
    interface: input.interface,
  });
  const states = proposeStates(ordered, methods, input.interface);
  return {
    blocks: [
      service,
      ...methods.map((method) => methodBlock(method, input.interface)),
      ...states,
    ],
    methods,
    states: states.map(({ name }) => name.slice("state.".length)),
  };
}

/** `GetUnitByPID` as mappings write it: `get_unit_by_pid`. */
export function snakeCase(name: string): string {
  const words = nameWords(name);
  // Digits stay with the word before them: x11, not x_11.
  const joined = words.reduce(
    (text, word) => text + (text === "" || /^\d/.test(word) ? word : `_${word}`),
    "",
  );
  return /^[a-z_]/.test(joined) ? joined : `m_${joined}`;
}

function nameMethods(interfaces: readonly IntrospectedInterface[]): NamedMethod[] {
  const taken = new Set<string>();
  const named: NamedMethod[] = [];
  for (const iface of interfaces) {
    for (const method of iface.methods) {
      const short = snakeCase(method.name);
      const suffix = snakeCase(iface.name.slice(iface.name.lastIndexOf(".") + 1));
      let name = taken.has(short) ? `${suffix}_${short}` : short;
      for (let n = 2; taken.has(name); n++) name = `${suffix}_${short}_${n}`;
      taken.add(name);
      const { safe, callable } = classifyMethod(method);
      const args = nameArgs(method.in);
      named.push({ name, interface: iface.name, method, args, safe, callable });
    }
  }
  return named;
}

function nameArgs(args: readonly IntrospectedArg[]): NamedArg[] {
  const taken = new Set<string>();
  return args.map(({ name, type }, i) => {
    const clean = name.replaceAll(/[^A-Za-z0-9_-]/g, "_");
    let unique = /^[A-Za-z_]/.test(clean) ? clean : `arg${i}`;
    while (taken.has(unique)) unique = `${unique}_${i}`;
    taken.add(unique);
    // polkit's question at the desk: nobody sits there.
    const isInteractive = type === "b" && /^(allow_)?interactive/.test(unique);
    return { name: unique, type, ...(isInteractive && { value: false }) };
  });
}

function methodBlock(named: NamedMethod, main: string): Block {
  const { method, name, args } = named;
  const { safe, classifiedBy, reason } = classifyMethod(method);
  const returns = nameArgs(method.out).map(({ name, type }) => ({ name, type }));
  return block(`methods.${name}`, {
    dbus_method: method.name,
    interface: named.interface === main ? undefined : named.interface,
    args,
    returns: returns.length > 0 ? returns : undefined,
    safe,
    requires_confirmation: !safe,
    classified_by: classifiedBy,
    reason,
  });
}
