import {
  assertEquals,
  assertIncludes,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, sh, tempFolder } from "../support/scratch.ts";
import {
  createSnapshot,
  createSubvolume,
  deleteSubvolume,
  deleteSubvolumeById,
  fileSystemInfo,
  formatUuid,
  isBtrfs,
  isReadOnly,
  isSubvolume,
  openFolder,
  parseUuid,
  setReadOnly,
  setReceived,
  subvolumeInfo,
  subvolumeInfoAt,
  syncFileSystem,
} from "../../ffi/btrfs.ts";
import { listSubvolumes, nestedSubvolumes } from "../../ffi/btrfs_list.ts";
import { BTRFS_REQUEST } from "../../ffi/btrfs_requests.ts";
import { SysError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";

/** As facts/btrfs.md measured them; asm-generic, so aarch64 has the same. */
const NUMBERS: Readonly<Record<keyof typeof BTRFS_REQUEST, number>> = {
  SYNC: 0x9408,
  SNAP_CREATE_V2: 0x50009417,
  SUBVOL_CREATE_V2: 0x50009418,
  SUBVOL_GETFLAGS: 0x80089419,
  SUBVOL_SETFLAGS: 0x4008941a,
  START_SYNC: 0x80089418,
  WAIT_SYNC: 0x40089416,
  TREE_SEARCH_V2: 0xc0709411,
  INO_LOOKUP: 0xd0009412,
  FS_INFO: 0x8400941f,
  SET_RECEIVED_SUBVOL: 0xc0c89425,
  GET_SUBVOL_INFO: 0x81f8943c,
  GET_SUBVOL_ROOTREF: 0xd000943d,
  INO_LOOKUP_USER: 0xd000943e,
  SNAP_DESTROY_V2: 0x5000943f,
};

Deno.test("ioctl numbers are the measured ones", () => {
  assertEquals<Record<string, number>>({ ...BTRFS_REQUEST }, NUMBERS);
});

Deno.test("a UUID survives text and bytes; zero is none", () => {
  const uuid = "0188f2a4-5bd0-4a47-9e3c-ffeeddccbb00";
  assertEquals(formatUuid(parseUuid(uuid)), uuid);
  assertEquals(formatUuid(new Uint8Array(16)), null);
  assertThrows(() => parseUuid("xyz"), TypeError);
});

/** Runs `body` on an open folder. */
function on<T>(path: string, body: (fd: number) => T): T {
  return withFd(openFolder(path), body);
}

/** `btrfs subvolume show` as a table. */
async function show(path: string): Promise<Record<string, string>> {
  const text = await sh("btrfs", "subvolume", "show", path);
  return Object.fromEntries(
    text.split("\n").map((line) => /^\t([^:]+):\s*(.*)$/.exec(line))
      .filter((match) => match !== null).map((match) => [match[1]!, match[2]!]),
  );
}

platformTest(
  "create, snapshot, flags, info and delete agree with the btrfs command",
  async () => {
    await using fs = await btrfsScratch();
    const live = `${fs.path}/live`, snap = `${fs.path}/snap`;
    on(fs.path, (top) => {
      assertTrue(isBtrfs(top) && isSubvolume(top));
      createSubvolume(top, "live");
    });
    await Deno.writeTextFile(`${live}/file`, "content");
    await Deno.mkdir(`${live}/folder`);
    on(`${live}/folder`, (fd) => assertEquals(isSubvolume(fd), false));
    on(fs.path, (top) =>
      on(live, (fd) => {
        createSnapshot(fd, top, "snap", true);
        createSnapshot(fd, top, "copy", false);
      }));
    assertEquals(await Deno.readTextFile(`${snap}/file`), "content");
    for (const path of [live, snap, `${fs.path}/copy`]) {
      const info = subvolumeInfoAt(path), truth = await show(path);
      assertEquals(info.name, truth["Name"]);
      assertEquals(info.uuid, truth["UUID"]);
      assertEquals(info.parentUuid ?? "-", truth["Parent UUID"]);
      assertEquals(info.receivedUuid ?? "-", truth["Received UUID"]);
      assertEquals(String(info.id), truth["Subvolume ID"]);
      assertEquals(String(info.otransid), truth["Gen at creation"]);
      assertEquals(String(info.parentId), truth["Parent ID"]);
      assertEquals(info.readOnly, truth["Flags"] === "readonly");
      const made = Date.parse(truth["Creation time"]!.replace(" ", "T").replace(" ", ""));
      assertEquals(Math.floor(info.otimeMs / 1000) * 1000, made);
    }
    on(snap, (fd) => {
      assertEquals(isReadOnly(fd), true);
      setReadOnly(fd, false);
      assertEquals(isReadOnly(fd), false);
      assertEquals(subvolumeInfo(fd).readOnly, false);
      setReadOnly(fd, true);
    });
    on(fs.path, (top) => {
      deleteSubvolume(top, "copy");
      deleteSubvolumeById(top, subvolumeInfoAt(snap).id);
      syncFileSystem(top);
    });
    const left = await sh("btrfs", "subvolume", "list", fs.path);
    assertEquals(left.trim().split("\n").map((line) => line.split(" ").at(-1)), ["live"]);
  },
);

platformTest(
  "received: UUID and transaction are kept, read-only is refused",
  async () => {
    await using fs = await btrfsScratch();
    on(fs.path, (top) => createSubvolume(top, "r"));
    const uuid = "12345678-9abc-4def-8123-456789abcdef";
    on(`${fs.path}/r`, (fd) => {
      assertTrue(setReceived(fd, uuid, 77n) > 0n);
      assertEquals(subvolumeInfo(fd).receivedUuid, uuid);
      assertEquals(subvolumeInfo(fd).stransid, 77n);
      setReadOnly(fd, true);
      assertEquals(assertThrows(() => setReceived(fd, uuid, 1n), SysError).code, "EROFS");
    });
    assertEquals((await show(`${fs.path}/r`))["Received UUID"], uuid);
  },
);

platformTest(
  "listing: subvolumes of a folder only; nested ones with their path",
  async () => {
    await using fs = await btrfsScratch();
    on(fs.path, (top) => {
      for (const name of ["a", "b", "\u00e9"]) createSubvolume(top, name);
    });
    await Deno.mkdir(`${fs.path}/plain`);
    await Deno.writeTextFile(`${fs.path}/file`, "");
    await Deno.symlink("a", `${fs.path}/link`);
    const names = (top: number) =>
      listSubvolumes(top).map(({ name }) => new TextDecoder().decode(name)).sort();
    on(fs.path, (top) => {
      assertEquals(names(top), ["a", "b", "\u00e9"]);
      assertEquals(
        names(top),
        ["a", "b", "\u00e9"],
        "the folder had been read to its end",
      );
    });
    assertEquals(on(`${fs.path}/a`, nestedSubvolumes), []);
    await Deno.mkdir(`${fs.path}/a/x/y`, { recursive: true });
    on(`${fs.path}/a`, (fd) => createSubvolume(fd, "direct"));
    on(`${fs.path}/a/x/y`, (fd) => createSubvolume(fd, "deep"));
    const nested = on(`${fs.path}/a`, nestedSubvolumes).map(({ path }) => path).sort();
    assertEquals(nested, ["direct", "x/y/deep"]);
  },
);

platformTest(
  "more nested subvolumes than one answer holds (255) are all listed",
  async () => {
    await using fs = await btrfsScratch();
    on(fs.path, (top) => createSubvolume(top, "many"));
    on(`${fs.path}/many`, (fd) => {
      for (let i = 0; i < 300; i++) createSubvolume(fd, `n${i}`);
      assertEquals(new Set(nestedSubvolumes(fd).map(({ path }) => path)).size, 300);
    });
  },
);

platformTest(
  "errno is the kernel's: the call, the path, the number, its name",
  async () => {
    await using fs = await btrfsScratch();
    const code = (fn: () => unknown) => assertThrows(fn, SysError).code;
    on(fs.path, (top) => {
      createSubvolume(top, "a");
      const twice = assertThrows(() => createSubvolume(top, "a"), SysError);
      assertEquals([twice.call, twice.path, twice.errno, twice.code], [
        "btrfs create",
        "a",
        17,
        "EEXIST",
      ]);
      assertEquals(code(() => deleteSubvolume(top, "none")), "ENOENT");
      assertEquals(code(() => createSubvolume(top, "")), "EINVAL");
      assertEquals(code(() => createSubvolume(top, "a/b")), "EINVAL");
      assertEquals(code(() => createSubvolume(top, "a\0b")), "EINVAL");
      assertEquals(code(() => createSubvolume(top, "x".repeat(256))), "ENAMETOOLONG");
      on(`${fs.path}/a`, (fd) => {
        createSubvolume(fd, "nested");
      });
      assertEquals(code(() => deleteSubvolume(top, "a")), "ENOTEMPTY");
      Deno.mkdirSync(`${fs.path}/plain`);
      on(`${fs.path}/plain`, (fd) => {
        assertEquals(code(() => createSnapshot(fd, top, "s", true)), "EINVAL");
        assertEquals(code(() => isReadOnly(fd)), "EINVAL");
      });
      assertEquals(fileSystemInfo(top).devices, 1);
    });
    assertIncludes(
      await sh("btrfs", "filesystem", "show", fs.path),
      on(fs.path, fileSystemInfo).fsid,
    );
  },
);

Deno.test("off btrfs every request says ENOTTY", async () => {
  await using folder = await tempFolder();
  on(folder.path, (fd) => {
    if (isBtrfs(fd)) return;
    assertEquals(isSubvolume(fd), false);
    for (
      const fn of [
        () => createSubvolume(fd, "x"),
        () => createSnapshot(fd, fd, "x", true),
        () => subvolumeInfo(fd),
        () => isReadOnly(fd),
        () => nestedSubvolumes(fd),
        () => fileSystemInfo(fd),
        () => syncFileSystem(fd),
      ]
    ) assertEquals(assertThrows(fn, SysError).code, "ENOTTY");
  });
});
