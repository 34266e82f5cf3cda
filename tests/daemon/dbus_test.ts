import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { btrfsRoot, plainRoot } from "../support/cli_root.ts";
import { platformTest, tempFolder } from "../support/scratch.ts";
import { privateBus, run } from "./private_bus.ts";
import { startServe } from "./serve_process.ts";
import { overSocket } from "./support.ts";

Deno.test("busctl and gdbus embed, query, plan, list and read properties, as the policy lets them", async () => {
  await using scratch = await tempFolder();
  await Deno.chmod(scratch.path, 0o755);
  await using root = await plainRoot();
  await using bus = await privateBus(scratch.path);
  const env = { DBUS_SYSTEM_BUS_ADDRESS: bus.address };
  const serve = await startServe(root, ["--dbus", "system"], env);
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
    assertEquals(await serve.stop(), 0);
  }
});

const AT = ["org.opdbus1", "/org/opdbus1", "org.opdbus1.Manager"] as const;

/** A monitor's output, until it says something. */
function listening(command: string, args: string[], env: Record<string, string>) {
  const child = new Deno.Command("stdbuf", { // gdbus keeps what it says to a pipe
    args: ["-oL", command, ...args],
    env,
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let heard = "";
  return {
    async hear(what: RegExp): Promise<void> {
      while (!what.test(heard)) {
        const { value, done } = await reader.read();
        if (done) throw new Error(`${command} ended: ${heard}`);
        heard += value;
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await reader.cancel();
      await child.status;
    },
  };
}

platformTest("busctl and gdbus hear the signals that introspection names", async () => {
  await using scratch = await tempFolder();
  await using root = await btrfsRoot();
  await using bus = await privateBus(scratch.path);
  const env = { DBUS_SYSTEM_BUS_ADDRESS: bus.address };
  // The schedule's own snapshot comes with the start: monitors must be there before.
  await using gdbus = listening("gdbus", [
    ...["monitor", "--address", bus.address, "--dest", AT[0], "--object-path", AT[1]],
  ], env);
  await gdbus.hear(/Monitoring signals/);
  await using busctl = listening("busctl", [
    ...[`--address=${bus.address}`, "--json=short", "monitor", AT[0]],
  ], env);
  await using serve = await startServe(root, ["--dbus", "system"], env);
  await gdbus.hear(/SnapshotCreated \('cache', '[^']+@cache-snapshots\/cache@/);
  const snapshot = await run("busctl", [
    ...[`--address=${bus.address}`, "call", ...AT, "Snapshot", "s", "timing"],
  ], env);
  assertEquals(snapshot.code, 0, snapshot.stderr);
  const path = JSON.parse(snapshot.stdout.trim().slice(2));
  await gdbus.hear(new RegExp(`SnapshotCreated \\('timing', '${path}'\\)`));
  await busctl.hear(/"member":"SnapshotCreated".*"data":\["timing","/);
  assertTrue((await Deno.stat(path)).isDirectory);
  await Deno.mkdir(`${root.path}/@plugin-demo`);
  await gdbus.hear(/org\.opdbus1\.Manager\.PluginsChanged \(\)/);
  await busctl.hear(/"member":"PluginsChanged"/);
  assertEquals(await serve.stop(), 0);
});

Deno.test("the tree, each property and wrong calls are as the specification has them", async () => {
  await using scratch = await tempFolder();
  await using root = await plainRoot();
  await using bus = await privateBus(scratch.path);
  const env = { DBUS_SYSTEM_BUS_ADDRESS: bus.address };
  await using serve = await startServe(root, ["--dbus", "system"], env);
  const busctl = (...args: string[]) =>
    run("busctl", [`--address=${bus.address}`, ...args], env);
  assertEquals(
    (await busctl("--list", "tree", AT[0])).stdout.trim().split("\n").at(-1),
    AT[1],
  );
  const all = await busctl("get-property", ...AT, "Version", "Entries", "ChainHeight");
  assertIncludes(all.stdout, /^s "\d+\.\d+\.\d+[^"]*"\nt 0\nt 0\n$/);
  const seen = await busctl("introspect", AT[0], AT[1], AT[2]);
  assertIncludes(seen.stdout, /\.Version +property +s +"[^"]+" +const/);
  assertIncludes(seen.stdout, /\.SnapshotCreated +signal +ss /);
  const error = async (...args: string[]) => {
    const { code, stderr } = await busctl("call", ...args);
    assertEquals(code, 1);
    return stderr;
  };
  assertIncludes(
    await error(...AT, "Embed", "s", "one"),
    "Embed takes (ass), it got (s)",
  );
  assertIncludes(await error(...AT, "Nothing"), "There is no");
  assertIncludes(await error(AT[0], "/other", AT[2], "ListPlugins"), "nothing at /other");
  assertIncludes(
    await error(
      AT[0],
      AT[1],
      "org.freedesktop.DBus.Properties",
      "Get",
      "ss",
      AT[2],
      "No",
    ),
    "There is no property",
  );
  assertIncludes(await error(...AT, "Embed", "ass", "1", "", ""), "none empty");
  assertEquals(await serve.stop(), 0);
});

Deno.test("the service outlives its bus, and is offered again when the bus is back", async () => {
  await using scratch = await tempFolder();
  await using root = await plainRoot();
  const address = `unix:path=${scratch.path}/bus.sock`;
  const env = { DBUS_SYSTEM_BUS_ADDRESS: address };
  await using serve = await (async () => {
    await using _bus = await privateBus(scratch.path);
    return await startServe(root, ["--dbus", "system"], env);
  })();
  await serve.logged("the bus went away");
  const { status } = await overSocket(serve.socket, "/readyz");
  assertEquals(status, 200);
  await using _back = await privateBus(scratch.path);
  while (serve.log().split("offering org.opdbus1").length < 3) {
    await serve.more();
  }
  const seen = await run(
    "busctl",
    [`--address=${address}`, "call", ...AT, "ListPlugins"],
    env,
  );
  assertEquals(seen.stdout.trim(), "a(sss) 0");
  assertEquals(await serve.stop(), 0);
});
