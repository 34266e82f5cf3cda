import { openCheckpoint } from "../../lib/chain/checkpoint.ts";
import { hostKey } from "../../lib/chain/host_key.ts";
import { Ledger } from "../../lib/chain/ledger.ts";
import { ChainRecorder } from "../../lib/chain/recorder.ts";
import { ChainReader } from "../../lib/chain/reader.ts";
import { verifyChain } from "../../lib/chain/verify.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { sendChunks } from "../../lib/stream/send.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { testRoot } from "../support/root.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";
import { content } from "./support.ts";

/** Data that does not fit into btrfs's own tree, so that it has pages of its own. */
const LARGE = { text: "op-dbus ".repeat(2000) };

function newest(folder: string, part: string): string {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  return `${folder}/${names.filter((n) => n.startsWith(`${part}@`)).toSorted().at(-1)}`;
}

platformTest(
  "chain, vectors and states are replicated, and verify over there",
  async () => {
    await using root = await testRoot();
    await using disk = await btrfsScratch(256);
    const { layout } = root;
    using recorder = new ChainRecorder(layout, { who: "alice" });
    const action = { category: "state", action: "apply", subject: "firewalld", data: {} };
    const state = (port: number) => ({ version: 1, plugins: { firewalld: { port } } });
    const run = (...args: string[]) => cli(["--root", layout.root, ...args]);
    let note = "";
    for (const port of [80, 443]) { // a full stream, then the difference to it
      await recorder.append(action, state(port) as never);
      const many = Array.from(
        { length: 300 },
        (_, n) => recorder.ledger.append(content(n)),
      );
      await Promise.all(many);
      if (port === 80) {
        note = await recorder.ledger.checkpoint();
      }
      const replicate = [
        "snapshot",
        "replicate",
        "timing",
        "vectors",
        "state",
        "--to",
        `${disk.path}/backup`,
      ];
      const { code, stderr } = await run(...replicate);
      assertEquals(code, 0, stderr);
    }
    const timing = newest(`${disk.path}/backup`, "timing");
    const key = hostKey(layout);
    const against = [{ name: "witness", checkpoint: openCheckpoint(note, key) }];
    const [here, there] = [
      await verifyChain(layout.timing),
      await verifyChain(timing, { key, against }),
    ];
    assertEquals([there.faults, there.blocks, there.root], [[], 603, here.root]);
    const current = `${newest(`${disk.path}/backup`, "state")}/current.json`;
    assertEquals(JSON.parse(Deno.readTextFileSync(current)), state(443));

    const verify = await run("chain", "verify", "--folder", timing, "--json");
    assertEquals([verify.code, JSON.parse(verify.stdout).blocks], [0, 603]);
    await sh("btrfs", "property", "set", "-f", timing, "ro", "false");
    await Deno.writeTextFile(`${timing}/blocks/7.json`, "{}");
    const damaged = await run("chain", "verify", "--folder", timing);
    assertEquals(damaged.code, 3);
    assertIncludes(damaged.stdout, "block 7");
  },
);

platformTest("sending a chain leaves in memory what was there", async () => {
  await using root = await testRoot();
  using ledger = new Ledger(root.layout);
  for (let n = 0; n < 20; n++) await ledger.append(content(n, LARGE));
  await ledger.checkpoint();
  const { path } = await createSnapshot(root.target("timing"));
  using reader = new ChainReader(path);
  const paths = Array.from({ length: reader.size }, (_, n) => reader.files.blockPath(n));
  const resident = async () =>
    (await sh("fincore", "-nb", "-o", "PAGES", ...paths)).trim().split(/\s+/);
  for (const hot of [paths[3]!, paths[9]!]) Deno.readFileSync(hot);
  const before = await resident();
  assertTrue(before[3] !== "0" && before[9] !== "0" && before[4] === "0", `${before}`);
  let bytes = 0;
  for await (const chunk of sendChunks(path, {})) bytes += chunk.length;
  assertTrue(bytes > 20 * LARGE.text.length);
  assertEquals(await resident(), before);
});
