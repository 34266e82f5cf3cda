/** Topologies of real machines against what hwloc made of the same recordings. */
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { formatList, parseList } from "../../lib/placement/cpu_list.ts";
import { drawTopology } from "../../lib/placement/draw.ts";
import { choosePlacement, parseStrategy } from "../../lib/placement/strategy.ts";
import { readTopology, type Topology } from "../../lib/placement/topology.ts";

const FOLDER = new URL("../data/machines/", import.meta.url);

interface Recorded {
  readonly topology: Topology;
  /** What hwloc says: nodes with their KiB, L3 caches (null: not recorded), CPUs. */
  readonly nodes: string[];
  readonly l3: number | null;
  readonly cpus: number;
}

async function recorded(name: string): Promise<Recorded> {
  await using folder = await tempFolder();
  const files = new Map<string, string>();
  const said = new Map<string, string[]>([["node", []], ["l3", []], ["cpus", []]]);
  for (const line of Deno.readTextFileSync(new URL(`${name}.txt`, FOLDER)).split("\n")) {
    const [, word, rest] = /^= (\w+) (.*)$/.exec(line) ?? [];
    if (word) said.get(word)!.push(rest!);
    const [path, content] = line.split("\t");
    if (content === undefined) continue;
    const [, before, list, after] = /^(.*)\{([\d,-]+)\}(.*)$/.exec(path!) ?? [];
    const paths = list ? parseList(list).map((n) => `${before}${n}${after}`) : [path!];
    for (const one of paths) files.set(one, `${files.get(one) ?? ""}${content}\n`);
  }
  for (const [path, content] of files) {
    const full = `${folder.path}/${path}`;
    Deno.mkdirSync(full.slice(0, full.lastIndexOf("/")), { recursive: true });
    Deno.writeTextFileSync(full, content);
  }
  return {
    topology: readTopology({ sys: `${folder.path}/sys`, proc: `${folder.path}/proc` }),
    nodes: said.get("node")!.sort(),
    l3: said.get("l3")![0] === undefined ? null : Number(said.get("l3")![0]),
    cpus: Number(said.get("cpus")![0]),
  };
}

const NAMES = [...Deno.readDirSync(FOLDER)].map(({ name }) => name)
  .filter((name) => name.endsWith(".txt")).map((name) => name.slice(0, -4)).sort();

Deno.test("recorded machines of 1, 2, 4 and 8 nodes come out as hwloc sees them", async () => {
  const counts = new Set<number>();
  for (const name of NAMES) {
    const { topology, nodes, l3, cpus } = await recorded(name);
    const ours = topology.nodes.map(({ id, totalBytes }) => `${id} ${totalBytes / 1024}`);
    assertEquals(ours.sort(), nodes, name);
    assertEquals(topology.onlineCpus.length, cpus, name);
    const caches = topology.cacheGroups.filter(({ level }) => level === 3);
    assertEquals(l3 === null ? null : caches.length, l3, name);
    for (const { distances } of topology.nodes) {
      assertEquals(distances.length, topology.nodes.length, name);
    }
    assertIncludes(drawTopology(topology).join("\n"), `node ${topology.nodes[0]!.id}`);
    counts.add(topology.nodes.length);
  }
  assertEquals([...counts].sort(), [1, 2, 4, 8]);
});

Deno.test("on every recorded machine, from every CPU: local memory, and CPUs that share a cache", async () => {
  for (const name of NAMES) {
    const { topology } = await recorded(name);
    for (const currentCpu of topology.onlineCpus) {
      const local = parseStrategy("local");
      const { nodes, cpus } = choosePlacement(topology, local, { currentCpu, turn: 0 });
      const own = topology.nodes.find((node) => node.cpus.includes(currentCpu));
      const where = `${name}, CPU ${currentCpu}: ${formatList(cpus)}`;
      if (!own) { // its node is off: the CPUs of one that is on have memory nearer
        assertTrue(cpus.every((cpu) => topology.onlineCpus.includes(cpu)), where);
        continue;
      }
      if (topology.nodes.length > 1) assertEquals(nodes, [own.id], where);
      if (cpus.length === 0) continue; // nothing to gain: one node, one cache
      assertTrue(cpus.includes(currentCpu), where);
      assertTrue(cpus.every((cpu) => own.cpus.includes(cpu)), where);
      const group = topology.cacheGroups.find((one) => one.cpus.includes(currentCpu));
      if (group) assertTrue(cpus.every((cpu) => group.cpus.includes(cpu)), where);
    }
  }
});

Deno.test("holes in the numbers, CPUs that are off, and memory without CPUs are as recorded", async () => {
  const holes = (await recorded("48amd64-4d2n6c-sparse")).topology;
  assertEquals(formatList(holes.nodes.map(({ id }) => id)), "0-2,33-34,45,72-73");
  const off = (await recorded("offline-cpu0-node0")).topology;
  assertEquals(formatList(off.onlineCpus), "4-20");
  assertTrue(off.nodes.every(({ cpus }) => cpus.every((cpu) => cpu >= 4 && cpu <= 20)));
  const gpu = (await recorded("nvidiagpunumanodes")).topology;
  const bare = gpu.nodes.filter(({ cpus }) => cpus.length === 0).map(({ id }) => id);
  assertEquals(formatList(bare), "250-255");
  const most = choosePlacement(gpu, parseStrategy("most-memory"), {
    currentCpu: 0,
    turn: 0,
  });
  assertEquals([...most.nodes].every((id) => id === 0 || id === 8), true);
  const turns = Array.from(
    { length: 8 },
    (_, turn) =>
      choosePlacement(gpu, parseStrategy("round-robin"), { currentCpu: 0, turn })
        .nodes[0],
  );
  assertTrue(turns.every((id) => id !== undefined), String(turns));
});
