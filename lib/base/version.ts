/** What this build is. */

/** The version; the same as deno.json's (a test compares them). */
export const VERSION = "0.1.0";

/** The commit this was built from; scripts/compile.ts replaces the placeholder. */
export const COMMIT: string = "@COMMIT@";

/** Where releases lie, and the minisign key that signs them; placeholders as above. */
export const RELEASE_URL: string = "@RELEASE_URL@";
export const RELEASE_KEY: string = "@RELEASE_KEY@";
