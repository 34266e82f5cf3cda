/**
 * Runs inside a memory-limited cgroup: reads a hot file, writes and reads many megabytes
 * beside it (as a chain, or plainly), and prints the share of the hot file that is still
 * resident.
 *
 *     chain_isolation.ts chain|plain HOT_FILE FOLDER MEGABYTES
 */
import { close, O_RDONLY, open, pread } from "../../../ffi/files.ts";
import { Mapping } from "../../../ffi/memory.ts";
import { fstat } from "../../../ffi/stat.ts";
import { Layout } from "../../../lib/base/layout.ts";
import { Ledger } from "../../../lib/chain/ledger.ts";
import { verifyChain } from "../../../lib/chain/verify.ts";

const BLOCK_BYTES = 64 * 1024;
const GROUP = 16;

function readWhole(path: string): void {
  const fd = open(path, O_RDONLY);
  const buffer = new Uint8Array(1024 * 1024);
  for (let at = 0;;) {
    const n = pread(fd, buffer, at);
    if (n === 0) break;
    at += n;
  }
  close(fd);
}

function residentShare(path: string): number {
  const fd = open(path, O_RDONLY);
  using mapping = Mapping.ofFile(fd, fstat(fd).sizeBytes);
  const pages = mapping.residency();
  close(fd);
  return pages.reduce((sum, page) => sum + (page & 1), 0) / pages.length;
}

/** Text that no compression makes small. */
function noise(): string {
  return crypto.getRandomValues(new Uint8Array(BLOCK_BYTES * 3 / 4)).toBase64();
}

async function writeChain(folder: string, blocks: number): Promise<void> {
  const layout = new Layout(folder);
  using ledger = new Ledger(layout);
  for (let done = 0; done < blocks; done += GROUP) {
    await Promise.all(Array.from({ length: GROUP }, () =>
      ledger.append({
        category: "bench",
        action: "write",
        who: "bench",
        what: "noise",
        data: { noise: noise() },
      })));
  }
  await ledger.checkpoint();
  const { ok } = await verifyChain(layout.timing);
  if (!ok) throw new Error("the chain does not verify");
}

function writePlainly(folder: string, blocks: number): void {
  const path = (n: number) => `${folder}/${n}.json`;
  for (let n = 0; n < blocks; n++) Deno.writeTextFileSync(path(n), noise());
  for (let n = 0; n < blocks; n++) Deno.readFileSync(path(n));
}

const [mode, hot, folder, megabytes] = Deno.args as [string, string, string, string];
const blocks = Number(megabytes) * 1024 * 1024 / BLOCK_BYTES;
readWhole(hot);
const before = residentShare(hot);
if (mode === "chain") await writeChain(folder, blocks);
else writePlainly(folder, blocks);
console.log(JSON.stringify({ before, after: residentShare(hot) }));
