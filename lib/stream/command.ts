/** Every command of a send stream as a typed value. */

/** A time in a stream. Seconds may be negative (before 1970). */
export interface StreamTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/**
 * Bytes in a command (paths, names, data) are views into the reader's buffer: valid until
 * the handler returns. `at` is the command's offset in the decompressed stream, in bytes.
 */
interface At {
  readonly at: number;
}
interface AtPath extends At {
  readonly path: Uint8Array;
}
interface Ids {
  readonly uuid: Uint8Array;
  readonly ctransid: bigint;
}
interface CloneIds {
  readonly cloneUuid: Uint8Array;
  readonly cloneCtransid: bigint;
}

export interface SubvolCommand extends AtPath, Ids {
  readonly type: "subvol";
}
export interface SnapshotCommand extends AtPath, Ids, CloneIds {
  readonly type: "snapshot";
}
export interface MakeFileCommand extends AtPath {
  readonly type: "mkfile";
}
export interface MakeFolderCommand extends AtPath {
  readonly type: "mkdir";
}
export type MakeCommand = MakeFileCommand | MakeFolderCommand;
export interface MakeSpecialCommand extends AtPath {
  readonly type: "mknod" | "mkfifo" | "mksock";
  /** File type and permission bits. */
  readonly mode: number;
  readonly rdev: bigint;
}
export interface SymlinkCommand extends AtPath {
  readonly type: "symlink";
  readonly target: Uint8Array;
}
export interface RenameCommand extends AtPath {
  readonly type: "rename";
  readonly pathTo: Uint8Array;
}
export interface LinkCommand extends AtPath {
  readonly type: "link";
  /** The file that exists already. */
  readonly existing: Uint8Array;
}
export interface RemoveCommand extends AtPath {
  readonly type: "unlink" | "rmdir";
}
export interface SetXattrCommand extends AtPath {
  readonly type: "set_xattr";
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}
export interface RemoveXattrCommand extends AtPath {
  readonly type: "remove_xattr";
  readonly name: Uint8Array;
}
export interface WriteCommand extends AtPath {
  readonly type: "write";
  readonly offset: number;
  readonly data: Uint8Array;
}
export interface EncodedWriteCommand extends AtPath {
  readonly type: "encoded_write";
  readonly offset: number;
  /** Bytes that the file gets, from `unencodedOffset` of the decoded extent. */
  readonly unencodedFileLength: number;
  readonly unencodedLength: number;
  readonly unencodedOffset: number;
  /** One of `COMPRESSION`. */
  readonly compression: number;
  readonly encryption: number;
  readonly data: Uint8Array;
}
export interface CloneCommand extends AtPath, CloneIds {
  readonly type: "clone";
  readonly offset: number;
  readonly length: number;
  readonly clonePath: Uint8Array;
  readonly cloneOffset: number;
}
export interface TruncateCommand extends AtPath {
  readonly type: "truncate";
  readonly size: number;
}
export interface ChmodCommand extends AtPath {
  readonly type: "chmod";
  readonly mode: number;
}
export interface ChownCommand extends AtPath {
  readonly type: "chown";
  readonly uid: number;
  readonly gid: number;
}
export interface UtimesCommand extends AtPath {
  readonly type: "utimes";
  readonly atime: StreamTime;
  readonly mtime: StreamTime;
}
export interface UpdateExtentCommand extends AtPath {
  readonly type: "update_extent";
  readonly offset: number;
  readonly length: number;
}
export interface FallocateCommand extends AtPath {
  readonly type: "fallocate";
  readonly mode: number;
  readonly offset: number;
  readonly length: number;
}
export interface FileattrCommand extends AtPath {
  readonly type: "fileattr";
  readonly flags: bigint;
}
export interface EndCommand extends At {
  readonly type: "end";
}

export type StreamCommand =
  | SubvolCommand
  | SnapshotCommand
  | MakeCommand
  | MakeSpecialCommand
  | SymlinkCommand
  | RenameCommand
  | LinkCommand
  | RemoveCommand
  | SetXattrCommand
  | RemoveXattrCommand
  | WriteCommand
  | EncodedWriteCommand
  | CloneCommand
  | TruncateCommand
  | ChmodCommand
  | ChownCommand
  | UtimesCommand
  | UpdateExtentCommand
  | FallocateCommand
  | FileattrCommand
  | EndCommand;
