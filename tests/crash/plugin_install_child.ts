/** An install from a folder's repository, killed at its n-th changing call: ROOT REPO N. */
import type { SecretKey } from "../../lib/plugin/minisign/secret_key.ts";
import { testHost } from "../plugin/repo_kit.ts";
import { killAtCall } from "./killer.ts";

const [root, repository, n, ...what] = Deno.args as [string, string, string, string];
const key: SecretKey = JSON.parse(
  Deno.readTextFileSync(`${repository}/../key.json`),
  (name, value) => ["key", "seed"].includes(name) ? Uint8Array.fromHex(value) : value,
);
const host = testHost(root, repository, [key]);
const calls = killAtCall(Number(n));
await host.install(what);
if (Number(n) === 0) Deno.writeTextFileSync(`${root}.calls`, String(calls()));
