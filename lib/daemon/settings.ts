/** The service's part of the configuration, checked. */
import type { Config } from "../base/config.ts";
import { InputError } from "../base/errors.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import type { ListenOn } from "./http_server.ts";

const TOKEN_FILE_LIMIT_BYTES = 4096;
const TOKEN_MINIMUM = 16;

/** Limits as configured. */
export function limitsOf(config: Config): Limits {
  return {
    ...DEFAULT_LIMITS,
    bodyBytes: config.get("serve.max_body"),
    batchTexts: config.get("serve.max_batch"),
    concurrent: config.get("serve.concurrency"),
    waiting: config.get("serve.queue"),
    perSecond: config.get("serve.rate"),
    heldBytes: config.get("serve.memory"),
    connections: config.get("serve.connections"),
    requestTimeoutMs: config.get("serve.request_timeout"),
  };
}

/**
 * The token of a file; null where none is named.
 * @throws {InputError} `bad_token` when it is too short to protect anything
 */
export function readToken(path: string): string | null {
  if (path === "") return null;
  const token = readTextFile(path, TOKEN_FILE_LIMIT_BYTES).trim();
  if (token.length < TOKEN_MINIMUM || /\s/.test(token)) {
    throw new InputError(
      "bad_token",
      `Cannot use the token in ${path}: it is too short`,
      {
        hint: `write one line of at least ${TOKEN_MINIMUM} letters and digits`,
      },
    );
  }
  return token;
}

/**
 * `127.0.0.1:8080`, `[::1]:8080`: loopback, unless clients must send a token.
 * @throws {InputError} `bad_listen`, `open_to_all`
 */
export function parseListen(text: string, token: string | null): ListenOn | null {
  if (text === "") return null;
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:\s]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new InputError("bad_listen", `Cannot listen on ${JSON.stringify(text)}`, {
      hint: "write it as 127.0.0.1:8080 or [::1]:8080",
    });
  }
  const host = match[1] ?? match[2]!;
  const loopback = host === "localhost" || host === "::1" ||
    /^127\.\d+\.\d+\.\d+$/.test(host);
  if (!loopback && token === null) {
    throw new InputError(
      "open_to_all",
      `Cannot listen on ${text}: anybody could use it`,
      {
        hint: "set serve.token_file, or listen on 127.0.0.1",
      },
    );
  }
  return { host, port };
}

/** Settings that only a start reads: what is open under them cannot be swapped. */
const AT_START = [
  ...["root", "cache.codec", "cache.durability", "cache.arena_size"],
  ...["serve.socket", "serve.warm"],
];

/** The names of settings that differ. */
export function changedKeys(before: Config, after: Config): string[] {
  const shown = (config: Config) =>
    new Map(config.entries().map(({ name, shown }) => [name, shown]));
  const old = shown(before), now = shown(after);
  const names = new Set([...old.keys(), ...now.keys()]);
  return [...names].filter((name) => old.get(name) !== now.get(name));
}

/** Whether a changed setting takes effect at the next start only. */
export function needRestart(key: string): boolean {
  return AT_START.includes(key);
}
