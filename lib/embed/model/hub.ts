/**
 * A hub of models over HTTP: which address a file has, which hosts may answer, what an
 * answer means.
 *
 * Source: RFC 9110 (Retry-After, Range, redirects); the layout is Hugging Face's
 * `/REPOSITORY/resolve/REVISION/FILE`.
 */
import { InputError, OpError } from "../../base/errors.ts";

/** Where models come from, and who may serve them. */
export interface Hub {
  /** Base address, e.g. https://huggingface.co. No slash at the end. */
  readonly url: string;
  /**
   * Other hosts that the hub may redirect to: names, or `*.` and a domain. The hub's own
   * host is always allowed.
   */
  readonly hosts: readonly string[];
  /** Sent to the hub's own host only; empty for none. */
  readonly token: string;
}

export const DEFAULT_HUB = "https://huggingface.co";
/** Where that hub keeps large files. */
export const DEFAULT_HUB_HOSTS = ["*.huggingface.co", "*.hf.co"] as const;

const MAX_REDIRECTS = 5;
const REPOSITORY = /^[A-Za-z0-9][\w.-]{0,95}(\/[A-Za-z0-9][\w.-]{0,95})?$/;
const REVISION = /^[A-Za-z0-9][\w.-]{0,127}(\/[\w.-]{1,127})*$/;
const SHA256 = /^"?([0-9a-f]{64})"?$/;

/** @throws {InputError} when it is no repository's name */
export function checkRepository(repository: string, revision: string): void {
  const bad = !REPOSITORY.test(repository) || repository.includes("..");
  if (!bad && REVISION.test(revision) && !revision.includes("..")) return;
  const what = bad ? repository : revision;
  throw new InputError("bad_name", `${JSON.stringify(what)} names no model of a hub`, {
    hint: "write OWNER/MODEL, e.g. sentence-transformers/all-MiniLM-L6-v2",
  });
}

/** The address of a file. */
export function fileUrl(hub: Hub, repository: string, revision: string, file: string) {
  const part = (path: string) => path.split("/").map(encodeURIComponent).join("/");
  return new URL(
    `${hub.url}/${part(repository)}/resolve/${part(revision)}/${part(file)}`,
  );
}

/** An answer, and what the hub says about the file. */
export interface HubAnswer {
  readonly response: Response;
  /** SHA-256 of the whole file, where the hub tells it. */
  readonly sha256: string | null;
}

/**
 * GET, following redirects to allowed hosts only. The token never leaves the hub's host.
 *
 * @throws {OpError} for a redirect that is not followed
 * @throws {TypeError} what fetch throws when there is no connection
 */
export async function get(
  hub: Hub,
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HubAnswer> {
  const home = new URL(hub.url);
  let at = url, sha256: string | null = null;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const own = at.host === home.host && at.protocol === home.protocol;
    const response = await fetch(at, {
      redirect: "manual",
      signal,
      headers: {
        ...headers,
        // Sizes and ranges are of the file itself, not of a compressed form.
        "accept-encoding": "identity",
        "user-agent": "op-dbus",
        ...(own && hub.token !== "" && { authorization: `Bearer ${hub.token}` }),
      },
    });
    sha256 ??= statedDigest(response);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) {
      return { response, sha256 };
    }
    await response.body?.cancel();
    at = redirectTarget(hub, home, at, location);
  }
  throw new OpError("too_many_redirects", `Cannot fetch ${url}: too many redirects`, {
    hint: "check the hub's address (models.hub)",
  });
}

/** Large files carry their SHA-256 as an ETag of the hub's own. */
function statedDigest(response: Response): string | null {
  for (const header of ["x-linked-etag", "etag"]) {
    const match = SHA256.exec(response.headers.get(header) ?? "");
    if (match) return match[1]!;
  }
  return null;
}

function redirectTarget(hub: Hub, home: URL, from: URL, location: string): URL {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch (error) {
    const message = `Cannot fetch ${from}: it redirects to ${JSON.stringify(location)}`;
    throw new OpError("bad_redirect", message, { cause: error });
  }
  const secure = to.protocol === "https:" || to.protocol === home.protocol;
  const allowed = to.host === home.host ||
    hub.hosts.some((pattern) => matches(to.host, pattern));
  if (secure && allowed && /^https?:$/.test(to.protocol)) return to;
  const why = secure ? "another host" : "an address without encryption";
  throw new OpError(
    "bad_redirect",
    `Cannot fetch ${from}: it redirects to ${why} (${to.protocol}//${to.host})`,
    { hint: `allow it with models.hub_hosts, if you trust it` },
  );
}

function matches(host: string, pattern: string): boolean {
  return pattern.startsWith("*.")
    ? host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1
    : host === pattern;
}

/** Milliseconds of a Retry-After header, seconds or a date; null where there is none. */
export function retryAfterMs(response: Response, nowMs: number): number | null {
  const text = response.headers.get("retry-after");
  if (text === null) return null;
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs);
}
