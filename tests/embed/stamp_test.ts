import { close, O_RDONLY, open } from "../../ffi/files.ts";
import { OpError } from "../../lib/base/errors.ts";
import { verifyOnce } from "../../lib/embed/onnx/stamp.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";

async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

async function verify(path: string, sha256: string, folder?: string): Promise<void> {
  const fd = open(path, O_RDONLY);
  try {
    await verifyOnce(fd, path, sha256, folder);
  } finally {
    close(fd);
  }
}

Deno.test("a file is hashed, and again when it changed, stamp or no stamp", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/library.so`, stamps = `${folder.path}/meta`;
  await Deno.mkdir(stamps);
  const bytes = new Uint8Array(100_000).fill(7);
  await Deno.writeFile(path, bytes);
  const sha256 = await digestOf(bytes);
  await Deno.utime(path, 1_000_000, 1_000_000);
  await verify(path, sha256, stamps);
  const stamp = await Deno.readTextFile(`${stamps}/onnxruntime.verified`);
  assertTrue(stamp.startsWith(sha256));
  // The same size, and the old modification time set back: only ctime tells.
  bytes[500] = 8;
  await Deno.writeFile(path, bytes);
  await Deno.utime(path, 1_000_000, 1_000_000);
  await assertRejects(() => verify(path, sha256, stamps), OpError, /its SHA-256 is/);
  await assertRejects(() => verify(path, sha256), OpError, /its SHA-256 is/);
  await Deno.writeFile(path, new Uint8Array());
  await assertRejects(() => verify(path, sha256, stamps), OpError);
});

Deno.test("a stamp of a whole file spares the hash; a foreign one does not", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/library.so`, file = `${folder.path}/onnxruntime.verified`;
  await Deno.writeFile(path, new Uint8Array(5000));
  const real = await digestOf(new Uint8Array(5000)), wrong = "0".repeat(64);
  await verify(path, real, folder.path);
  // A stamp that says the wrong digest was seen: believed when it is ours ...
  const stamp = (await Deno.readTextFile(file)).replace(real, wrong);
  await Deno.writeTextFile(file, stamp);
  await verify(path, wrong, folder.path);
  // ... and not when others can write it.
  await Deno.chmod(file, 0o666);
  await assertRejects(() => verify(path, wrong, folder.path), OpError);
  await Deno.remove(file);
  await Deno.symlink(path, file);
  await assertRejects(() => verify(path, wrong, folder.path), OpError);
});

Deno.test("without a folder that can be written the file is hashed every time", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/library.so`;
  await Deno.writeFile(path, new Uint8Array(5000));
  await verify(path, await digestOf(new Uint8Array(5000)), `${folder.path}/nowhere`);
  assertEquals([...Deno.readDirSync(folder.path)].length, 1);
});
