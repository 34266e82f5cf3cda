import { assertEquals, assertTrue } from "../support/assert.ts";
import { below, oneOf, type Random, seeded } from "../support/random.ts";
import { platformTest } from "../support/scratch.ts";
import { testRoot } from "../support/root.ts";
import { createSnapshot } from "../../lib/snapshot/create.ts";
import { diffSnapshots } from "../../lib/snapshot/diff.ts";
import { findSnapshot } from "../../lib/snapshot/remove.ts";

platformTest(
  "diff: created, deleted, renamed, modified, metadata; nothing else",
  async () => {
    await using root = await testRoot();
    const state = root.target("state"), at = (name: string) => `${state.path}/${name}`;
    for (const name of ["same", "edited", "gone", "moved", "replaced", "chmodded"]) {
      await Deno.writeFile(at(name), new Uint8Array(10_000).fill(name.length));
    }
    await Deno.mkdir(at("folder/below"), { recursive: true });
    await Deno.writeTextFile(at("folder/file"), "x");
    const a = await createSnapshot(state, { nowMs: Date.UTC(2025, 0, 1) });
    await Deno.writeFile(at("edited"), new Uint8Array(5000).fill(1), { append: true });
    await Deno.remove(at("gone"));
    await Deno.rename(at("moved"), at("folder/moved-there"));
    await Deno.writeTextFile(at("new"), "new");
    await Deno.writeTextFile(at("replacement"), "r");
    await Deno.rename(at("replacement"), at("replaced"));
    await Deno.chmod(at("chmodded"), 0o600);
    await Deno.rename(at("folder"), at("renamed-folder"));
    await Deno.remove(at("renamed-folder/below"));
    const b = await createSnapshot(state, { nowMs: Date.UTC(2025, 0, 2) });
    const [from, to] = [findSnapshot(state, a.name), findSnapshot(state, b.name)];
    const { changes } = await diffSnapshots(from, to);
    const brief = changes.map(({ path, change, from }) => [path, change, from]);
    assertEquals(brief, [
      ["chmodded", "metadata", null],
      ["edited", "modified", null],
      ["folder/below", "deleted", null],
      ["gone", "deleted", null],
      ["new", "created", null],
      ["renamed-folder", "renamed", "folder"],
      ["renamed-folder/moved-there", "renamed", "moved"],
      ["replaced", "modified", null],
    ]);
    assertEquals((await diffSnapshots(from, from)).changes, []);
    const back = (await diffSnapshots(to, from)).changes;
    assertEquals(
      back.filter(({ change }) => change === "created").map(({ path }) => path),
      ["folder/below", "gone"],
    );
  },
);

/** Files of a tree with their content, by path. */
async function walk(root: string, below = ""): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const entry of Deno.readDir(`${root}/${below}`)) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory) {
      found.set(path, "folder");
      for (const [name, text] of await walk(root, path)) found.set(name, text);
    } else found.set(path, `file ${await Deno.readTextFile(`${root}/${path}`)}`);
  }
  return found;
}

async function mutate(random: Random, root: string): Promise<void> {
  const files = [...await walk(root)].filter(([, text]) => text !== "folder");
  const folders = [
    "",
    ...[...await walk(root)].filter(([, t]) => t === "folder").map(([p]) => p),
  ];
  const fresh = `${oneOf(random, folders)}/n${below(random, 1e6)}`.replace(/^\//, "");
  const [file] = files.length > 0 ? oneOf(random, files) : [null];
  const kind = below(random, 6);
  if (kind === 0 || file === null) {
    await Deno.writeTextFile(`${root}/${fresh}`, `${random()}`);
  } else if (kind === 1) await Deno.remove(`${root}/${file}`);
  else if (kind === 2) await Deno.rename(`${root}/${file}`, `${root}/${fresh}`);
  else if (kind === 3) await Deno.writeTextFile(`${root}/${file}`, `${random()}`);
  else if (kind === 4) await Deno.mkdir(`${root}/${fresh}`);
  else await Deno.link(`${root}/${file}`, `${root}/${fresh}`);
}

platformTest(
  "diff agrees with a walk of both trees, for 25 random histories",
  async () => {
    await using root = await testRoot();
    const state = root.target("state"), random = seeded(3);
    let before = await createSnapshot(state, { nowMs: Date.UTC(2025, 0, 1) });
    for (let round = 1; round <= 25; round++) {
      for (let i = 0; i < 12; i++) await mutate(random, state.path);
      const after = await createSnapshot(state, { nowMs: Date.UTC(2025, 0, 1, round) });
      const [a, b] = [await walk(before.path), await walk(after.path)];
      const { changes } = await diffSnapshots(
        findSnapshot(state, before.name),
        findSnapshot(state, after.name),
      );
      const of = (...kinds: string[]) =>
        changes.filter(({ change }) => kinds.includes(change));
      const added = of("created", "renamed").map(({ path }) => path).sort();
      const gone = [
        ...of("deleted").map((c) => c.path),
        ...of("renamed").map((c) => c.from!),
      ];
      assertEquals(
        added,
        [...b.keys()].filter((path) => !a.has(path)).sort(),
        `round ${round}`,
      );
      assertEquals(gone.sort(), [...a.keys()].filter((path) => !b.has(path)).sort());
      const said = new Set(of("modified").map(({ path }) => path));
      for (const [path, text] of b) {
        const { nlink } = await Deno.stat(`${after.path}/${path}`);
        if (text === "folder" || nlink !== 1) continue; // told under one of its names
        if (a.has(path) && a.get(path) !== text) assertTrue(said.has(path), path);
      }
      before = after;
    }
  },
);
