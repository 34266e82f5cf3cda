/**
 * The C declarations that op-dbus calls, in one table. Variadic functions (open, ioctl,
 * fcntl, syscall) take their extra arguments in registers like any other on both
 * supported architectures, so they are declared with as many as we pass.
 *
 * Source: POSIX.1-2017, Linux man-pages sections 2 and 3.
 */
export const LIBC_SYMBOLS = {
  /** int *__errno_location(void) */
  __errno_location: { parameters: [], result: "pointer" },
  /** int openat(int dirfd, const char *path, int flags, mode_t mode) */
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  /** int close(int fd) */
  close: { parameters: ["i32"], result: "i32" },
  /** ssize_t read(int fd, void *buf, size_t count) */
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  /** ssize_t write(int fd, const void *buf, size_t count) */
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  /** ssize_t pread(int fd, void *buf, size_t count, off_t offset) */
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  /** ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset) */
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  /** ssize_t preadv2(int fd, const struct iovec *, int count, off_t offset, int flags) */
  preadv2: { parameters: ["i32", "buffer", "i32", "i64", "i32"], result: "isize" },
  /** off_t lseek(int fd, off_t offset, int whence) */
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  /** int ioctl(int fd, unsigned long request, void *arg) */
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  /** int fcntl(int fd, int cmd, long arg) */
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" },
  /** int fsync(int fd) */
  fsync: { parameters: ["i32"], result: "i32" },
  /** int fdatasync(int fd) */
  fdatasync: { parameters: ["i32"], result: "i32" },
  /** int syncfs(int fd) */
  syncfs: { parameters: ["i32"], result: "i32" },
  /** int sync_file_range(int fd, off64_t offset, off64_t n, unsigned flags) */
  sync_file_range: {
    parameters: ["i32", "i64", "i64", "u32"],
    result: "i32",
    optional: true,
  },
  /** int ftruncate(int fd, off_t length) */
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  /** int fallocate(int fd, int mode, off_t offset, off_t len) */
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  /** int posix_fadvise(int fd, off_t offset, off_t len, int advice); returns errno */
  posix_fadvise: { parameters: ["i32", "i64", "i64", "i32"], result: "i32" },
  /** int flock(int fd, int operation) */
  flock: { parameters: ["i32", "i32"], result: "i32" },
  /** int fstat(int fd, struct stat *buf) */
  fstat: { parameters: ["i32", "buffer"], result: "i32" },
  /** int fstatat(int dirfd, const char *path, struct stat *buf, int flags) */
  fstatat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  /** int statfs(const char *path, struct statfs *buf) */
  statfs: { parameters: ["buffer", "buffer"], result: "i32" },
  /** int fstatfs(int fd, struct statfs *buf) */
  fstatfs: { parameters: ["i32", "buffer"], result: "i32" },
  /** int renameat2(int olddir, const char *old, int newdir, const char *new, unsigned) */
  renameat2: { parameters: ["i32", "buffer", "i32", "buffer", "u32"], result: "i32" },
  /** int linkat(int olddir, const char *old, int newdir, const char *new, int flags) */
  linkat: { parameters: ["i32", "buffer", "i32", "buffer", "i32"], result: "i32" },
  /** int symlinkat(const char *target, int dirfd, const char *path) */
  symlinkat: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  /** ssize_t readlinkat(int dirfd, const char *path, char *buf, size_t size) */
  readlinkat: { parameters: ["i32", "buffer", "buffer", "usize"], result: "isize" },
  /** int unlinkat(int dirfd, const char *path, int flags) */
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  /** int mkdirat(int dirfd, const char *path, mode_t mode) */
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** int fchmod(int fd, mode_t mode) */
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  /** int fchown(int fd, uid_t owner, gid_t group) */
  fchown: { parameters: ["i32", "u32", "u32"], result: "i32" },
  /** int fchmodat(int dirfd, const char *path, mode_t mode, int flags) */
  fchmodat: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  /** int futimens(int fd, const struct timespec times[2]) */
  futimens: { parameters: ["i32", "buffer"], result: "i32" },
  /** int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev) (glibc 2.33) */
  mknodat: { parameters: ["i32", "buffer", "u32", "u64"], result: "i32", optional: true },
  /** int fchownat(int dirfd, const char *path, uid_t, gid_t, int flags) */
  fchownat: { parameters: ["i32", "buffer", "u32", "u32", "i32"], result: "i32" },
  /** int utimensat(int dirfd, const char *path, const struct timespec[2], int flags) */
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  /** int setxattr/lsetxattr(const char *path, const char *name, const void *value, size_t, int) */
  lsetxattr: {
    parameters: ["buffer", "buffer", "buffer", "usize", "i32"],
    result: "i32",
  },
  setxattr: { parameters: ["buffer", "buffer", "buffer", "usize", "i32"], result: "i32" },
  /** int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) */
  fsetxattr: { parameters: ["i32", "buffer", "buffer", "usize", "i32"], result: "i32" },
  /** ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size) */
  lgetxattr: { parameters: ["buffer", "buffer", "buffer", "usize"], result: "isize" },
  /** ssize_t fgetxattr(int fd, const char *name, void *value, size_t size) */
  fgetxattr: { parameters: ["i32", "buffer", "buffer", "usize"], result: "isize" },
  /** ssize_t llistxattr(const char *path, char *list, size_t size) */
  llistxattr: { parameters: ["buffer", "buffer", "usize"], result: "isize" },
  /** ssize_t flistxattr(int fd, char *list, size_t size) */
  flistxattr: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  /** int lremovexattr(const char *path, const char *name) */
  lremovexattr: { parameters: ["buffer", "buffer"], result: "i32" },
  /** ssize_t getdents64(int fd, void *dirp, size_t count) (glibc 2.30; else syscall) */
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "isize", optional: true },
  /** void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset) */
  mmap: {
    parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"],
    result: "pointer",
  },
  /** int munmap(void *addr, size_t length) */
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  /** int madvise(void *addr, size_t length, int advice) */
  madvise: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  /** int mincore(void *addr, size_t length, unsigned char *vec) */
  mincore: { parameters: ["pointer", "usize", "buffer"], result: "i32" },
  /** int sched_setaffinity(pid_t pid, size_t cpusetsize, const cpu_set_t *mask) */
  sched_setaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  /** int sched_getaffinity(pid_t pid, size_t cpusetsize, cpu_set_t *mask) */
  sched_getaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  /** int sched_getcpu(void) */
  sched_getcpu: { parameters: [], result: "i32" },
  /** int clock_gettime(clockid_t clock, struct timespec *ts) */
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  /** int socket(int domain, int type, int protocol) */
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  /** int getsockopt(int fd, int level, int name, void *value, socklen_t *length) */
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  /** ssize_t sendto(int fd, const void *buf, size_t, int flags, const sockaddr *, socklen_t) */
  sendto: {
    parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"],
    result: "isize",
  },
  /** int setenv(const char *name, const char *value, int overwrite) */
  setenv: { parameters: ["buffer", "buffer", "i32"], result: "i32" },
  /** long sysconf(int name) */
  sysconf: { parameters: ["i32"], result: "i64" },
  /** uid_t geteuid(void) */
  geteuid: { parameters: [], result: "u32" },
  /** mode_t umask(mode_t mask) */
  umask: { parameters: ["u32"], result: "u32" },
  /** int pipe2(int fds[2], int flags) */
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  /** int memfd_create(const char *name, unsigned flags) (glibc 2.27) */
  memfd_create: { parameters: ["buffer", "u32"], result: "i32", optional: true },
  /** int mount(const char *src, const char *dst, const char *type, unsigned long, data) */
  mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  /** int umount2(const char *target, int flags) */
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
  /**
   * int posix_spawn(pid_t *pid, const char *path, const file_actions_t *actions,
   * const attr_t *attributes, char *const argv[], char *const envp[])
   */
  posix_spawn: {
    parameters: ["buffer", "buffer", "buffer", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  /** int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions) */
  posix_spawn_file_actions_init: { parameters: ["buffer"], result: "i32" },
  /** int posix_spawn_file_actions_addopen(actions, int fd, path, int flags, mode_t) */
  posix_spawn_file_actions_addopen: {
    parameters: ["buffer", "i32", "buffer", "i32", "u32"],
    result: "i32",
  },
  /** int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions) */
  posix_spawn_file_actions_destroy: { parameters: ["buffer"], result: "i32" },
  /** pid_t waitpid(pid_t pid, int *status, int options) */
  waitpid: {
    parameters: ["i32", "buffer", "i32"],
    result: "i32",
    nonblocking: true,
  },
  /** long syscall(long number, ...) with six integer or pointer-as-integer arguments */
  syscall: {
    parameters: ["i64", "u64", "u64", "u64", "u64", "u64", "u64"],
    result: "i64",
  },
} as const satisfies Deno.ForeignLibraryInterface;
