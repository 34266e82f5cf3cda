import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { tempFolder } from "../support/scratch.ts";
import { spawnCli } from "../support/cli.ts";

const POLICY = new URL("../../packaging/dbus/org.opdbus1.conf", import.meta.url).pathname;

/** A bus of the test's own, with our policy file in force. */
async function privateBus(folder: string) {
  const config = `${folder}/bus.conf`, socket = `${folder}/bus.sock`;
  await Deno.writeTextFile(
    config,
    `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=${socket}</listen>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus"/></policy>
<include>${POLICY}</include></busconfig>`,
  );
  const child = new Deno.Command("dbus-daemon", {
    args: [`--config-file=${config}`, "--nofork", "--nopidfile", "--print-address"],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read(); // the address: it listens
  return {
    address: `unix:path=${socket}`,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await reader.cancel();
      await child.status;
    },
  };
}

async function run(command: string, args: string[], env: Record<string, string>) {
  const out = await new Deno.Command(command, { args, env }).output();
  const text = new TextDecoder();
  return {
    code: out.code,
    stdout: text.decode(out.stdout),
    stderr: text.decode(out.stderr),
  };
}

Deno.test("busctl and gdbus embed, query, plan, list and read properties, as the policy lets them", async () => {
  await using scratch = await tempFolder();
  await Deno.chmod(scratch.path, 0o755);
  await using root = await plainRoot();
  await using bus = await privateBus(scratch.path);
  const env = { DBUS_SYSTEM_BUS_ADDRESS: bus.address };
  const socket = `${scratch.path}/s.sock`;
  const args = ["--root", root.path, "serve", "--socket", socket, "--dbus", "system"];
  const child = spawnCli(args, { env });
  const log = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  while (!said.includes("ready")) {
    const { value, done } = await log.read();
    if (done) throw new Error(said);
    said += value;
  }
  log.releaseLock();
  const rest = child.stderr.locked ? Promise.resolve() : child.stderr.cancel();
  try {
    const busctl = (...more: string[]) =>
      run("busctl", [`--address=${bus.address}`, ...more], env);
    const at = ["org.opdbus1", "/org/opdbus1", "org.opdbus1.Manager"];
    const seen = await busctl("introspect", at[0]!, at[1]!);
    assertEquals(seen.code, 0, seen.stderr);
    for (const member of [".Embed", ".Query", ".Plan", ".ListPlugins", ".Snapshot"]) {
      assertIncludes(seen.stdout, new RegExp(`\\${member} +method`));
    }
    assertIncludes(seen.stdout, /\.PluginsChanged +signal/);
    const made = await busctl("call", ...at, "Embed", "ass", "2", "open", "port 80", "");
    assertEquals(made.code, 0, made.stderr);
    assertTrue(made.stdout.startsWith("aad 2 384 "));
    const entries = await busctl("get-property", ...at, "Entries");
    assertEquals(entries.stdout.trim(), "t 2");
    const gdbus = (method: string, ...more: string[]) =>
      run("gdbus", [
        ...["call", "--address", bus.address, "--dest", at[0]!, "--object-path", at[1]!],
        ...["--method", `${at[2]}.${method}`, ...more],
      ], env);
    assertEquals((await gdbus("ListPlugins")).stdout.trim(), "(@a(sss) [],)");
    const query = await gdbus("Query", "");
    assertIncludes(query.stdout, '{"version":1,"plugins":{}}');
    const plan = await gdbus("Plan", '{"version":1,"plugins":{}}');
    assertIncludes(plan.stdout, '"changes":[]');
    assertIncludes(
      (await gdbus("Plan", "nonsense")).stderr,
      "org.opdbus1.Error.BadState",
    );
    assertIncludes((await gdbus("Snapshot", "cache")).stderr, "org.opdbus1.Error.");
    assertIncludes((await gdbus("Nothing")).stderr, "UnknownMethod");
    assertIncludes(
      (await gdbus("Embed", "['a']", "gpt")).stderr,
      "org.opdbus1.Error.ModelNotFound",
    );
    // Others than root may embed, but make no snapshots.
    const nobody = (...more: string[]) =>
      run("setpriv", [
        ...["--reuid=65534", "--regid=65534", "--clear-groups", "busctl"],
        ...[`--address=${bus.address}`, "call", ...at, ...more],
      ], env);
    const allowed = await nobody("Embed", "ass", "1", "x", "");
    assertEquals(allowed.code, 0, allowed.stderr);
    assertIncludes((await nobody("Snapshot", "s", "cache")).stderr, /denied/i);
  } finally {
    child.kill("SIGTERM");
    const { code } = await child.status;
    await Promise.allSettled([rest, child.stdout.cancel(), child.stdin.close()]);
    assertEquals(code, 0);
  }
});
