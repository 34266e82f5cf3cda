/** semantic-mapping.toml as the program uses it: every default filled in. */
import type { FieldDocument, ReadDocument, STATE_KINDS } from "./mapping_schema.ts";

/** An argument of a method, or a value that it returns. */
export interface MappedArg {
  readonly name: string;
  /** One complete type; undefined in seed-style files: look it up by introspection. */
  readonly type?: string;
  /** What is sent unless a state gives something else; undefined: nothing. */
  readonly value?: unknown;
  readonly description?: string;
}

/** One method of the service, as a person or the generator described it. */
export interface MappedMethod {
  readonly name: string;
  readonly dbusMethod: string;
  /** Undefined: the service's. */
  readonly interface?: string;
  /** Undefined: the service's. May hold `{object}` or `{key}`. */
  readonly path?: string;
  readonly args: readonly MappedArg[];
  readonly returns: readonly MappedArg[];
  /** True: only reads. Unsafe unless the file says otherwise. */
  readonly safe: boolean;
  /** True: a call needs a person's yes. Unless the file says otherwise: not safe. */
  readonly requiresConfirmation: boolean;
  readonly okErrors: readonly string[];
  readonly inverse?: string;
  readonly timeoutMs?: number;
  readonly classifiedBy?: "rule" | "annotation" | "person";
  readonly reason?: string;
  readonly description?: string;
}

/** Where a value is read. */
export type MappedRead = ReadDocument;

/** How a change is made. */
export interface MappedWrite {
  readonly method?: string;
  readonly property?: string;
  readonly interface?: string;
  readonly path?: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly arg?: string;
  readonly item: readonly string[];
  readonly undoNote?: string;
}

/** A part of a record or of a collection's entry. */
export interface MappedField extends Omit<FieldDocument, "write"> {
  readonly name: string;
  readonly write?: MappedWrite;
}

/** One thing whose desired state a state file may give. */
export interface MappedState {
  readonly name: string;
  readonly kind: typeof STATE_KINDS[number];
  readonly description?: string;
  readonly type?: string;
  readonly key?: string;
  readonly keys?: MappedRead;
  readonly read?: MappedRead;
  readonly write?: MappedWrite;
  readonly add?: MappedWrite;
  readonly remove?: MappedWrite;
  readonly on?: MappedWrite;
  readonly off?: MappedWrite;
  readonly list?: MappedRead;
  readonly create?: MappedWrite;
  readonly delete?: MappedWrite;
  readonly columns: readonly string[];
  readonly objectInterface?: string;
  readonly objectManager?: string;
  readonly fields: ReadonlyMap<string, MappedField>;
  readonly separator?: string;
  readonly exclusive: boolean;
  readonly after: readonly string[];
  readonly requiresConfirmation: boolean;
  readonly undoNote?: string;
}

/** The service that a plugin talks to. */
export interface MappedService {
  /** `system`, `session` or a D-Bus address. */
  readonly bus: string;
  readonly name: string;
  readonly path: string;
  readonly interface: string;
  readonly description?: string;
}

/** A whole mapping. */
export interface Mapping {
  readonly file: string;
  /** Undefined in a seed-style file: methods only. */
  readonly service?: MappedService;
  readonly methods: ReadonlyMap<string, MappedMethod>;
  /** In the order of application: what a state comes `after` is before it. */
  readonly states: ReadonlyMap<string, MappedState>;
}
