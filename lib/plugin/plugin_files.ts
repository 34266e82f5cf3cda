/** Reading files of a plugin's folder, whose content is anybody's: no links, no surprises. */
import { isSysError, SysError } from "../../ffi/errno.ts";
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  open,
  openBeneath,
  pread,
  withFd,
} from "../../ffi/files.ts";
import { fstat, isRegular } from "../../ffi/stat.ts";

const EFBIG = 27, EINVAL = 22;

/** An open folder whose files are read by relative path. */
export class PluginFolder implements Disposable {
  readonly fd: number;

  /** @param path the folder; not through a link in its last part */
  constructor(readonly path: string) {
    this.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  }

  /**
   * A regular file's content.
   *
   * @param relative path inside the folder
   * @param limitBytes refuses a larger one before it reads
   * @returns null where there is no such file
   * @throws {SysError} EFBIG, EINVAL for what is no regular file, ELOOP for a link
   */
  read(relative: string, limitBytes: number): Uint8Array<ArrayBuffer> | null {
    let fd: number;
    try {
      fd = openBeneath(this.fd, relative, O_RDONLY | O_NONBLOCK);
    } catch (error) {
      if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
      throw error;
    }
    return withFd(fd, () => {
      const stat = fstat(fd, relative);
      if (!isRegular(stat)) throw new SysError("read", relative, EINVAL);
      if (stat.sizeBytes > limitBytes) throw new SysError("read", relative, EFBIG);
      const bytes = new Uint8Array(stat.sizeBytes);
      return bytes.subarray(0, pread(fd, bytes, 0));
    });
  }

  /** {@link read} as UTF-8. @throws {TypeError} when it is not */
  readText(relative: string, limitBytes: number): string | null {
    const bytes = this.read(relative, limitBytes);
    return bytes && new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}
