import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { sh, tempFolder } from "../support/scratch.ts";
import { InputError } from "../../lib/base/errors.ts";
import { formatList, parseList } from "../../lib/placement/cpu_list.ts";
import { choosePlacement, parseStrategy } from "../../lib/placement/strategy.ts";
import { readTopology, type Topology } from "../../lib/placement/topology.ts";
import { drawTopology } from "../../lib/placement/draw.ts";
import { MACHINES, type Tree } from "./machines.ts";

async function machine(name: string): Promise<Topology> {
  await using folder = await tempFolder();
  for (const [path, content] of Object.entries(MACHINES[name] as Tree)) {
    const full = `${folder.path}/${path}`;
    await Deno.mkdir(full.slice(0, full.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(full, content + "\n");
  }
  return readTopology({ sys: `${folder.path}/sys`, proc: `${folder.path}/proc` });
}

function choose(topology: Topology, strategy: string, currentCpu = 0, turn = 0) {
  const { nodes, policy, cpus } = choosePlacement(topology, parseStrategy(strategy), {
    currentCpu,
    turn,
  });
  return `${formatList(nodes) || "-"} ${policy} ${formatList(cpus) || "-"}`;
}

Deno.test("each strategy on each machine", async () => {
  const expected: [
    name: string,
    strategy: string,
    cpu: number,
    turn: number,
    is: string,
  ][] = [
    ["oneNode", "local", 0, 0, "- default -"],
    ["oneNode", "interleave", 0, 0, "- default -"],
    ["oneNodeTwoCaches", "local", 9, 0, "- default 8-15"],
    ["twoNodes", "local", 9, 0, "1 bind 8-15,24-31"],
    ["twoNodes", "local", 16, 0, "0 bind 0-7,16-23"],
    ["twoNodes", "most-memory", 0, 0, "1 bind 8-15,24-31"],
    ["twoNodes", "round-robin", 0, 7, "1 bind 8-15,24-31"],
    ["twoNodes", "round-robin", 0, 8, "0 bind 0-7,16-23"],
    ["twoNodes", "interleave", 0, 0, "0-1 interleave -"],
    ["twoNodes", "node:1", 0, 0, "1 bind 8-15,24-31"],
    ["twoNodes", "off", 0, 0, "- default -"],
    ["fourNodesWithHoles", "local", 5, 0, "2 bind 4-5,7"],
    ["fourNodesWithHoles", "most-memory", 0, 0, "5 bind 8-11"],
    ["fourNodesWithHoles", "round-robin", 0, 3, "7 bind 12-15"],
    ["eightNodes", "local", 70, 0, "4 bind 64-71"],
    ["eightNodes", "most-memory", 0, 0, "7 bind 112-119"],
    ["memoryOnlyNode", "most-memory", 3, 0, "1 bind 0-7"],
    ["memoryOnlyNode", "local", 3, 0, "0 bind 0-7"],
    ["nodeWithoutMemory", "local", 12, 0, "0 bind 8-15"],
    ["hybrid", "local", 0, 0, "- default -"],
    ["container", "local", 18, 0, "1 bind 18-19"],
    ["container", "most-memory", 18, 0, "1 bind 18-19"],
    ["container", "interleave", 18, 0, "1 interleave -"],
    ["oneCpuPerCache", "local", 2, 0, "1 bind 2-3"],
    ["noNumaKernel", "local", 0, 0, "- default -"],
  ];
  for (const [name, strategy, cpu, turn, is] of expected) {
    const topology = await machine(name);
    assertEquals(choose(topology, strategy, cpu, turn), is, `${name} ${strategy} ${cpu}`);
  }
});

Deno.test("a policy that is asked for is kept", async () => {
  const topology = await machine("twoNodes");
  const chosen = choosePlacement(topology, parseStrategy("local"), {
    currentCpu: 0,
    turn: 0,
    policy: "preferred",
  });
  assertEquals([chosen.policy, chosen.nodes], ["preferred", [0]]);
});

Deno.test("a node that is not there, or not allowed, is named with those that are", async () => {
  const gone = await machine("fourNodesWithHoles");
  const error = assertThrows(() => choose(gone, "node:1"), InputError, /no such node/);
  assertEquals(error.hint, "nodes with memory: 0,2,5,7");
  const box = await machine("container");
  assertThrows(() => choose(box, "node:0", 18), InputError, /may not use it/);
  assertThrows(() => parseStrategy("node:x"), InputError, /node:x/);
  assertThrows(() => parseStrategy("fast"), InputError);
});

Deno.test("memory, distances, offline CPUs, hybrid cores and limits are read", async () => {
  const holes = await machine("fourNodesWithHoles");
  assertEquals(holes.nodes.map(({ id }) => id), [0, 2, 5, 7]);
  assertEquals(holes.offlineCpus.length, 17);
  assertEquals(holes.nodes[1]!.distances, [16, 10, 32, 32]);
  assertEquals(holes.nodes[2]!.freeBytes, 12 * 1024 ** 3);
  const hybrid = await machine("hybrid");
  assertEquals(hybrid.hybrid?.efficiency, [12, 13, 14, 15, 16, 17, 18, 19]);
  const { limits } = await machine("container");
  assertEquals(limits, {
    cpus: [18, 19],
    nodes: [1],
    cpuQuota: 1.5,
    memoryBytes: 2 ** 31,
  });
});

Deno.test("the picture names every node, cache and limit", async () => {
  const picture = drawTopology(await machine("eightNodes")).join("\n");
  for (let node = 0; node < 8; node++) assertTrue(picture.includes(`node ${node}`));
  assertTrue(picture.includes("112-119"));
  const box = drawTopology(await machine("container")).join("\n");
  assertTrue(/1\.5 CPUs/.test(box) && /CPUs 18-19/.test(box), box);
  const one = drawTopology(await machine("oneNode")).join("\n");
  assertTrue(one.includes("nothing to gain"), one);
  for (const name of Object.keys(MACHINES)) {
    for (const line of drawTopology(await machine(name))) {
      assertTrue(line.length <= 100, line);
    }
  }
});

Deno.test("lists of CPUs read and write as the kernel does", () => {
  assertEquals(parseList("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
  assertEquals(parseList(""), []);
  assertEquals(formatList([11, 10, 8, 3, 2, 1, 0]), "0-3,8,10-11");
  for (const bad of ["a", "3-1", "1-", "-1", "0-999999", "1;2"]) {
    assertThrows(() => parseList(bad), RangeError);
  }
});

Deno.test("this machine, compared with lscpu", async () => {
  const topology = readTopology();
  const text = await sh("lscpu", "--parse=CPU,NODE");
  const rows = text.split("\n").filter((line) => /^\d/.test(line)).map((line) =>
    line.split(",").map(Number)
  );
  assertEquals(topology.onlineCpus, rows.map(([cpu]) => cpu!).sort((a, b) => a - b));
  for (const [cpu, node] of rows) {
    assertTrue(topology.nodes.find(({ id }) => id === (node ?? 0))!.cpus.includes(cpu!));
  }
});
