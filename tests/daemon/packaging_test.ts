import { assertEquals, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";

const UNITS = new URL("../../packaging/systemd/", import.meta.url).pathname;
/** systemd's own scale: 0 is best, 10 worst; under 3 is "OK". */
const EXPOSURE_LIMIT = 3;

/** The units with a program that is there, since verify looks for it. */
async function units() {
  const scratch = await tempFolder();
  for (const name of ["op-dbus.service", "op-dbus.socket"]) {
    const text = await Deno.readTextFile(UNITS + name);
    const path = `${scratch.path}/${name}`;
    await Deno.writeTextFile(path, text.replace("/usr/local/bin/op-dbus", "/bin/true"));
  }
  return scratch;
}

Deno.test("systemd-analyze finds nothing wrong with the units", async () => {
  await using scratch = await units();
  const out = await new Deno.Command("systemd-analyze", {
    args: ["verify", `${scratch.path}/op-dbus.service`, `${scratch.path}/op-dbus.socket`],
  }).output();
  const text = new TextDecoder().decode(out.stderr);
  const ours = text.split("\n").filter((line) => line.includes("op-dbus"));
  assertEquals([out.code, ours], [0, []]);
});

Deno.test("the unit's exposure score is low", async () => {
  await using scratch = await units();
  const path = `${scratch.path}/op-dbus.service`;
  const text = await sh("systemd-analyze", "security", "--offline=true", path);
  const score = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(text)?.[1]);
  assertTrue(score < EXPOSURE_LIMIT, `${score}`);
});
