import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { platformTest, sh, tempFolder } from "../support/scratch.ts";
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { isSysError, SysError } from "../../ffi/errno.ts";
import { ERRNO } from "../../ffi/errno_table.ts";
import {
  close,
  fadvise,
  fallocate,
  fdatasync,
  fsync,
  fsyncFolder,
  ftruncate,
  memfdCreate,
  mkdirAt,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  open,
  openAt,
  openBeneath,
  pipe,
  POSIX_FADV_DONTNEED,
  pread,
  pwriteAll,
  read,
  readlinkAt,
  rename,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  symlinkAt,
  syncfs,
  unlinkAt,
  utimesAt,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { flock, LOCK_EX, LOCK_NB, LOCK_UN } from "../../ffi/flock.ts";
import { MADV_WILLNEED, Mapping, PROT_READ, PROT_WRITE } from "../../ffi/memory.ts";
import { getAffinity, setAffinity } from "../../ffi/affinity.ts";
import { fstat, isFolder, isRegular, isSymlink, statAt, statfs } from "../../ffi/stat.ts";
import { fgetxattr, fsetxattr, llistxattr } from "../../ffi/xattr.ts";
import { archTables } from "../../ffi/arch.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (raw: Uint8Array) => new TextDecoder().decode(raw);
const code = (fn: () => unknown) => assertThrows(fn, SysError).code;

Deno.test("a failed call carries the call, the path, the number and its name", () => {
  const error = assertThrows(() => open("/nowhere/at/all", O_RDONLY), SysError);
  assertEquals([error.call, error.path, error.errno, error.code], [
    "open",
    "/nowhere/at/all",
    2,
    "ENOENT",
  ]);
  assertEquals(error.message, "open /nowhere/at/all: ENOENT (No such file or directory)");
  assertTrue(isSysError(error, "EACCES", "ENOENT"));
  assertEquals(isSysError(error, "EACCES"), false);
  assertEquals(new SysError("x", "", 4000).code, "E4000");
});

Deno.test("errno is right however calls alternate", async () => {
  await using folder = await tempFolder();
  withFd(open(`${folder.path}/file`, O_RDWR | O_CREAT, 0o600), (fd) => {
    const wanted: [() => unknown, string][] = [
      [() => open(folder.path, O_RDWR), "EISDIR"],
      [() => open(`${folder.path}/file/x`, O_RDONLY), "ENOTDIR"],
      [() => open(`${folder.path}/file`, O_RDWR | O_CREAT | O_EXCL, 0o600), "EEXIST"],
      [() => close(987_654), "EBADF"],
      [() => ftruncate(fd, -1), "EINVAL"],
      [() => fadvise(987_654, 0, 0, POSIX_FADV_DONTNEED), "EBADF"],
      [() => open("/x\0y", O_RDONLY), "EINVAL"],
      [() => open("x".repeat(5000), O_RDONLY), "ENAMETOOLONG"],
    ];
    for (let round = 0; round < 200; round++) {
      for (const [fn, name] of wanted) assertEquals(code(fn), name);
    }
  });
});

Deno.test("the table of error numbers agrees with the C library's strerror", async () => {
  const list = await sh("perl", "-e", 'for (1..133) { $! = $_; print "$_\t$!\n" }');
  for (const line of list.trim().split("\n")) {
    const [number, words] = line.split("\t");
    if (words!.startsWith("Unknown error")) continue;
    assertEquals(ERRNO[Number(number)]?.[1], words, number!);
  }
});

Deno.test("write, read, sync, truncate, rename, exchange, links, times", async () => {
  await using folder = await tempFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  withFd(open(at("a"), O_RDWR | O_CREAT | O_EXCL, 0o640), (fd) => {
    writeAll(fd, bytes("hello world"));
    pwriteAll(fd, bytes("W"), 6);
    const into = new Uint8Array(20);
    assertEquals(text(into.subarray(0, pread(fd, into, 0))), "hello World");
    fsync(fd);
    fdatasync(fd);
    syncfs(fd);
    fallocate(fd, 0, 0, 100);
    assertEquals(fstat(fd).sizeBytes, 100);
    ftruncate(fd, 5);
    fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    assertEquals(fstat(fd).mode & 0o777, 0o640);
    assertTrue(isRegular(fstat(fd)));
  });
  await Deno.writeTextFile(at("b"), "b");
  assertEquals(code(() => rename(at("a"), at("b"), RENAME_NOREPLACE)), "EEXIST");
  rename(at("a"), at("b"), RENAME_EXCHANGE);
  assertEquals(await Deno.readTextFile(at("b")), "hello");
  withFd(open(folder.path, O_RDONLY | O_DIRECTORY), (dir) => {
    assertTrue(isFolder(fstat(dir)));
    symlinkAt("b", dir, "link");
    assertEquals(text(readlinkAt(dir, "link")), "b");
    assertTrue(isSymlink(statAt(dir, "link")));
    assertTrue(isRegular(statAt(dir, "link", true)));
    assertEquals(code(() => openAt(dir, "link", O_RDONLY | O_NOFOLLOW)), "ELOOP");
    mkdirAt(dir, "sub", 0o700);
    const when = { seconds: 1_600_000_000n, nanoseconds: 123_456_789 };
    utimesAt(dir, "b", when, when);
    assertEquals(statAt(dir, "b").mtime, when);
    const names = listFolder(folder.path).map(({ name }) => text(name)).sort();
    assertEquals(names, ["a", "b", "link", "sub"]);
    unlinkAt(dir, "link");
    assertEquals(code(() => unlinkAt(dir, "link")), "ENOENT");
  });
  fsyncFolder(folder.path);
});

Deno.test("openBeneath leaves by no path: .., absolute, symlink", async () => {
  await using folder = await tempFolder();
  await Deno.mkdir(`${folder.path}/in`);
  await Deno.writeTextFile(`${folder.path}/out`, "secret");
  await Deno.writeTextFile(`${folder.path}/in/ok`, "ok");
  await Deno.symlink("../out", `${folder.path}/in/link`);
  withFd(open(`${folder.path}/in`, O_RDONLY | O_DIRECTORY), (dir) => {
    close(openBeneath(dir, "ok", O_RDONLY));
    assertEquals(code(() => openBeneath(dir, "../out", O_RDONLY)), "EXDEV");
    assertEquals(code(() => openBeneath(dir, "/etc/passwd", O_RDONLY)), "EXDEV");
    assertEquals(code(() => openBeneath(dir, "link", O_RDONLY)), "ELOOP");
  });
});

Deno.test("names that are not UTF-8 are kept as bytes", async () => {
  await using folder = await tempFolder();
  const name = new Uint8Array([0xff, 0xfe, 0x41]);
  withFd(open(folder.path, O_RDONLY | O_DIRECTORY), (dir) => {
    close(openAt(dir, name, O_RDWR | O_CREAT, 0o600));
    assertEquals(listFolder(folder.path).map((entry) => [...entry.name]), [[...name]]);
    unlinkAt(dir, name);
  });
});

Deno.test("a folder of 5,000 entries is listed whole; a text file has a limit", async () => {
  await using folder = await tempFolder();
  for (let i = 0; i < 5000; i++) {
    close(open(`${folder.path}/entry-${i}`, O_RDWR | O_CREAT, 0o600));
  }
  assertEquals(listFolder(folder.path).length, 5000);
  assertTrue(readTextFile("/proc/self/status").includes("Pid:"));
  assertEquals(code(() => readTextFile("/proc/self/status", 10)), "EFBIG");
});

Deno.test("flock: a second open file of the same process is another holder", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/lock`;
  withFd(open(path, O_RDWR | O_CREAT, 0o600), (a) =>
    withFd(open(path, O_RDWR), (b) => {
      assertEquals(flock(a, LOCK_EX | LOCK_NB), true);
      assertEquals(flock(b, LOCK_EX | LOCK_NB), false);
      flock(a, LOCK_UN);
      assertEquals(flock(b, LOCK_EX | LOCK_NB), true);
    }));
});

Deno.test("mappings: what is mapped is what the file holds, both ways", async () => {
  await using folder = await tempFolder();
  await Deno.writeTextFile(`${folder.path}/f`, "mapped bytes");
  withFd(open(`${folder.path}/f`, O_RDWR), (fd) => {
    using map = Mapping.ofFile(fd, 12, PROT_READ | PROT_WRITE);
    assertEquals(text(new Uint8Array(map.buffer)), "mapped bytes");
    new Uint8Array(map.buffer)[0] = 0x4d;
    map.advise(MADV_WILLNEED);
    assertEquals(map.residency(), new Uint8Array([1]));
  });
  assertEquals(await Deno.readTextFile(`${folder.path}/f`), "Mapped bytes");
  assertEquals(code(() => Mapping.ofFile(987_654, 10)), "EBADF");
});

Deno.test("affinity: what is set is what /proc says", () => {
  const before = getAffinity();
  try {
    setAffinity([before[0]!]);
    assertEquals(getAffinity(), [before[0]!]);
  } finally {
    setAffinity(before);
  }
  assertEquals(code(() => setAffinity([8000])), "EINVAL");
});

Deno.test("pipes, memory files, statfs", async () => {
  const { readFd, writeFd } = pipe();
  writeAll(writeFd, bytes("x"));
  close(writeFd);
  const into = new Uint8Array(4);
  assertEquals([read(readFd, into), read(readFd, into)], [1, 0]);
  close(readFd);
  withFd(memfdCreate("t"), (fd) => {
    writeAll(fd, bytes("abc"));
    assertEquals(fstat(fd).sizeBytes, 3);
  });
  const df = (await sh("stat", "-f", "-c", "%b %S %t", "/tmp")).trim().split(" ");
  const fs = statfs("/tmp");
  assertEquals(fs.totalBytes, Number(df[0]) * Number(df[1]));
  assertEquals(fs.magic.toString(16), df[2]);
});

platformTest(
  "disk full is ENOSPC, a read-only mount EROFS; extended attributes",
  async () => {
    await using folder = await tempFolder();
    await sh("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder.path);
    try {
      withFd(open(`${folder.path}/f`, O_RDWR | O_CREAT, 0o600), (fd) => {
        fsetxattr(fd, "trusted.note", bytes("v"));
        assertEquals(text(fgetxattr(fd, "trusted.note")!), "v");
        assertEquals(fgetxattr(fd, "trusted.none"), null);
        const names = llistxattr(`${folder.path}/f`).map(text);
        assertEquals(names, ["trusted.note"]);
        assertEquals(code(() => writeAll(fd, new Uint8Array(200_000))), "ENOSPC");
      });
      await sh("mount", "-o", "remount,ro", folder.path);
      assertEquals(
        code(() => open(`${folder.path}/g`, O_RDWR | O_CREAT, 0o600)),
        "EROFS",
      );
    } finally {
      await sh("umount", folder.path);
    }
  },
);

Deno.test("every architecture has every number", () => {
  const [first, ...others] = Object.values(archTables);
  for (const other of others) {
    assertEquals(Object.keys(other.syscall), Object.keys(first!.syscall));
    assertEquals(Object.keys(other.stat).sort(), Object.keys(first!.stat).sort());
  }
});
