/** Receiving a snapshot of a host of ours: on what, by whom, and what it may be called. */
import { openFolder, setReadOnly } from "../../ffi/btrfs.ts";
import { withFd } from "../../ffi/files.ts";
import { OpError } from "../../lib/base/errors.ts";
import { receiveSnapshot } from "../../lib/snapshot/receive.ts";
import { sendToFile } from "../../lib/snapshot/send_file.ts";
import { assertEquals, assertRejects } from "../support/assert.ts";
import { btrfsScratch, platformTest, sh } from "../support/scratch.ts";

/** A snapshot, its difference to the next one, and the first one received. */
async function replicas(root: string) {
  const work = `${root}/work`, replica = `${root}/there/one`;
  await sh("btrfs", "subvolume", "create", work);
  await Deno.writeTextFile(`${work}/f`, "1");
  await sh("btrfs", "subvolume", "snapshot", "-r", work, `${root}/one`);
  await Deno.writeTextFile(`${work}/g`, "2");
  await sh("btrfs", "subvolume", "snapshot", "-r", work, `${root}/two`);
  await sendToFile(`${root}/one`, `${root}/full`);
  await sendToFile(`${root}/two`, `${root}/difference`, { parent: `${root}/one` });
  await receiveSnapshot(`${root}/there`, { file: `${root}/full` });
  const again = () => receiveSnapshot(`${root}/there`, { file: `${root}/difference` });
  const freeze = (on: boolean) =>
    withFd(openFolder(replica), (fd) => setReadOnly(fd, on));
  return { replica, again, freeze };
}

platformTest("a replica that was changed is no base for a difference", async () => {
  await using fs = await btrfsScratch();
  const { replica, again, freeze } = await replicas(fs.path);
  const refused = async () =>
    assertEquals((await assertRejects(again, OpError)).code, "no_parent");
  freeze(false);
  await refused(); // as long as it can be changed
  await Deno.writeTextFile(`${replica}/f`, "tampered");
  await sh("sync", "-f", replica);
  freeze(true);
  await refused();
  assertEquals([...Deno.readDirSync(`${fs.path}/there`)].map((e) => e.name), ["one"]);
});

platformTest("the same difference builds on the replica as it came", async () => {
  await using fs = await btrfsScratch();
  const { again } = await replicas(fs.path);
  assertEquals((await again()).name, "two");
  assertEquals(await Deno.readTextFile(`${fs.path}/there/two/g`), "2");
});

platformTest("nobody but root receives, and nothing is left of the attempt", async () => {
  await using fs = await btrfsScratch();
  await replicas(fs.path);
  await Deno.mkdir(`${fs.path}/public`);
  await Deno.chmod(`${fs.path}/public`, 0o777);
  for (const way of [fs.path, `${fs.path}/..`]) await Deno.chmod(way, 0o711);
  await Deno.chmod(`${fs.path}/full`, 0o644);
  const libc = Deno.dlopen("libc.so.6", {
    seteuid: { parameters: ["u32"], result: "i32" },
  });
  const receive = () => receiveSnapshot(`${fs.path}/public`, { file: `${fs.path}/full` });
  assertEquals(libc.symbols.seteuid(65534), 0);
  try {
    const error = await assertRejects(receive, OpError, /not root/);
    assertEquals(error.code, "permission_denied");
  } finally {
    assertEquals(libc.symbols.seteuid(0), 0);
    libc.close();
  }
  assertEquals([...Deno.readDirSync(`${fs.path}/public`)], []);
});
