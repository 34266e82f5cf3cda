/** Retention policies: from the config, from a command line, and the default. */
import type { Config, ConfigRow } from "../base/config.ts";
import { CONFIG_TABLES } from "../base/config_keys.ts";
import type { Kind } from "../base/config_kinds.ts";
import { InputError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import type { Target } from "./target.ts";

/** The rules' numbers; 0 where a rule is not used. Durations in milliseconds. */
export type Policy = ConfigRow<"snapshot.policies">;

const FIELDS: Readonly<Record<string, Kind<number>>> = CONFIG_TABLES["snapshot.policies"];

const NOTHING = Object.fromEntries(
  Object.entries(FIELDS).map(([name, kind]) => [name, kind.fallback]),
) as unknown as Policy;

/** What applies where the config defines no policy called `default`: the last 24. */
export const DEFAULT_POLICY: Policy = { ...NOTHING, keep_last: 24 };

/** True when a rule of the policy keeps anything beyond keep_min. */
function keepsSomething(policy: Policy): boolean {
  return Object.entries(policy).some(([name, value]) =>
    name.startsWith("keep_") && name !== "keep_min" && value > 0
  );
}

function checked(policy: Policy, name: string, hint: string): Policy {
  if (keepsSomething(policy)) return policy;
  throw new InputError(
    "empty_policy",
    `Cannot use the policy ${name}: it keeps nothing`,
    {
      hint,
    },
  );
}

/**
 * The policy of a target.
 *
 * @throws {InputError} `unknown_policy`; `empty_policy` when no rule of it keeps anything
 */
export function policyOf(
  target: Pick<Target, "name" | "policy">,
  config: Pick<Config, "table">,
): Policy {
  const policies = config.table("snapshot.policies"), name = target.policy;
  const found = policies.get(name) ?? (name === "default" ? DEFAULT_POLICY : undefined);
  if (found) {
    return checked(found, name, `set a keep_ rule under [snapshot.policies.${name}]`);
  }
  const guess = nearest(name, [...policies.keys(), "default"]);
  throw new InputError(
    "unknown_policy",
    `Cannot rotate ${target.name}: there is no policy ${name}`,
    {
      hint: guess
        ? `did you mean ${guess}?`
        : `add [snapshot.policies.${name}] to the config`,
    },
  );
}

/**
 * A policy as typed: `keep_last=24,keep_within_daily=7d`.
 *
 * @throws {InputError} `bad_policy`
 */
export function parsePolicy(text: string): Policy {
  const read: Record<string, number> = {};
  for (const part of text.split(/[,\s]+/).filter(Boolean)) {
    const [name, value] = part.split("=") as [string, string | undefined];
    const kind = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (!kind || value === undefined) throw badPart(part, name);
    try {
      read[name] = kind.fromText(value);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new InputError("bad_policy", `Cannot read the policy: ${error.message}`, {
        hint: `give ${name} ${kind.expects}`,
      });
    }
  }
  return checked(
    { ...NOTHING, ...read },
    `"${text}"`,
    "name a rule, such as keep_last=24",
  );
}

function badPart(part: string, name: string): InputError {
  const guess = nearest(name, Object.keys(FIELDS));
  return new InputError("bad_policy", `Cannot read the policy: "${part}" is no rule`, {
    hint: guess
      ? `did you mean ${guess}=...?`
      : `the rules are ${Object.keys(FIELDS).join(", ")}`,
  });
}
