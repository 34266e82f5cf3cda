import { Layout } from "../../lib/base/layout.ts";
import { Notifier } from "../../lib/daemon/notify.ts";
import { PluginWatch } from "../../lib/daemon/plugin_watch.ts";
import { Scheduler } from "../../lib/daemon/scheduler.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";

Deno.test("a root that is away for a while stops the schedule, not the service", async () => {
  await using scratch = await tempFolder();
  const layout = new Layout(`${scratch.path}/root`);
  const ran: string[] = [], told: string[] = [];
  const job = { name: "job", everyMs: 1, run: () => void ran.push("job") };
  using scheduler = new Scheduler(layout, [job], {
    onError: (_, { message }) => told.push(message),
  });
  await scheduler.runDue();
  await scheduler.runDue();
  assertEquals([ran, scheduler.leading, told.length], [[], false, 1]);
  assertIncludes(told[0]!, "Cannot lead the schedule");
  await Deno.mkdir(layout.meta, { recursive: true });
  await scheduler.runDue();
  assertEquals([ran, scheduler.leading], [["job"], true]);
});

Deno.test("plugins that cannot be looked for are told of, and seen again later", async () => {
  await using scratch = await tempFolder();
  const layout = new Layout(`${scratch.path}/root`), away = `${scratch.path}/away`;
  await Deno.mkdir(layout.root);
  const { promise: told, resolve: tell } = Promise.withResolvers<string>();
  const changes: string[] = [];
  using watch = new PluginWatch(layout, {
    onChange: (plugins) => changes.push(...plugins.map(({ name }) => name)),
    onBlind: tell,
  });
  await Deno.rename(layout.root, away);
  await Deno.mkdir(`${away}/@plugin-demo`); // the watch goes with the folder
  assertIncludes(await told, "Cannot look for plugins");
  assertEquals(changes, []);
  await Deno.rename(away, layout.root);
  watch.look();
  assertEquals(changes, ["demo"]);
});

Deno.test("a service manager that cannot be told is a line in the log", () => {
  const told: string[] = [];
  const env = (name: string) =>
    name === "NOTIFY_SOCKET" ? "/nonexistent/notify" : undefined;
  const notifier = new Notifier(env, (why) => told.push(why));
  notifier.send("WATCHDOG=1");
  notifier.reloading();
  assertEquals(told.length, 2);
  assertIncludes(told[0]!, "Cannot tell systemd WATCHDOG=1");
  assertTrue(told[1]!.includes("RELOADING=1"));
});
