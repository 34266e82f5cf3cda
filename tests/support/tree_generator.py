"""Makes and edits random trees: generate.py SEED plain|host make|edit FOLDER [big]

Everything follows from SEED. "plain" holds what a plugin may hold; "host" also devices,
fifos, sockets, setuid bits, other owners and trusted attributes.
"""
import fcntl, os, random, stat, sys

FICLONE, FICLONERANGE = 0x40049409, 0x4020940D


def name(r):
    kind = r.randrange(12)
    if kind == 0:
        return bytes([r.randrange(128, 256) for _ in range(r.randrange(1, 9))])
    if kind == 1:
        return ("naïve-☃-%d" % r.randrange(1000)).encode()
    if kind == 2:
        return b"n" * r.randrange(200, 255) + b"%d" % r.randrange(10)
    if kind == 3:
        return b"sp ace\n%d" % r.randrange(100)
    return b"f%d" % r.randrange(10000)


def content(r):
    kind = r.randrange(8)
    if kind == 0:
        return b""
    if kind == 1:
        return r.randbytes(r.randrange(1, 100))
    if kind == 2:
        return r.randbytes(r.randrange(1, 5)) * r.randrange(1, 60000)
    if kind == 3:
        return r.randbytes(r.randrange(100000, 400000))
    if kind == 4:
        return b"\0" * r.randrange(1, 20000)
    return r.randbytes(r.randrange(100, 20000))


class Tree:
    def __init__(self, root, r, host):
        self.root, self.r, self.host = root, r, host
        self.scan()

    def scan(self):
        self.dirs, self.files, self.others = [self.root], [], []
        for base, dirs, files in os.walk(self.root):
            dirs.sort(); files.sort()
            for d in list(dirs):
                path = os.path.join(base, d)
                (self.others if os.path.islink(path) else self.dirs).append(path)
            for f in files:
                path = os.path.join(base, f)
                regular = stat.S_ISREG(os.lstat(path).st_mode)
                (self.files if regular else self.others).append(path)
        self.dirs.sort(); self.files.sort(); self.others.sort()

    def fresh(self):
        for _ in range(100):
            path = os.path.join(self.r.choice(self.dirs), name(self.r))
            if len(path) < 3000 and not os.path.lexists(path):
                return path
        return os.path.join(self.root, b"fresh%d" % self.r.randrange(1 << 60))

    def file(self):
        path = self.fresh()
        with open(path, "wb") as f:
            f.write(content(self.r))
            if self.r.randrange(4) == 0:  # a hole, and perhaps something behind it
                size = f.tell() + self.r.randrange(1, 500000)
                if self.r.randrange(2):
                    f.seek(size); f.write(content(self.r))
                else:
                    f.truncate(size)
        self.files.append(path)
        self.dress(path)

    def folder(self):
        path = self.fresh()
        os.mkdir(path)
        self.dirs.append(path)
        self.dress(path)

    def deep(self):
        path = self.fresh()
        for _ in range(self.r.randrange(5, 30)):
            os.mkdir(path)
            self.dirs.append(path)
            path = os.path.join(path, b"d%d" % self.r.randrange(10))

    def dress(self, path):
        r = self.r
        directory = os.path.isdir(path)
        if self.host and r.randrange(3) == 0:
            os.chown(path, r.randrange(3) * 1000, r.randrange(3) * 100)
        if r.randrange(2):
            mode = 0o700 | r.randrange(0o100) if directory else r.randrange(0o1000)
            if self.host and r.randrange(4) == 0:
                mode |= r.choice([0o4000, 0o2000, 0o1000])
            os.chmod(path, mode)
        if r.randrange(3) == 0:
            for n in range(r.randrange(1, 4)):
                os.setxattr(path, b"user.k%d" % n, r.randbytes(r.randrange(0, 200)))
        if self.host and r.randrange(5) == 0:
            os.setxattr(path, b"trusted.t", r.randbytes(20))
        if r.randrange(3) == 0:
            ns = r.randrange(-10**9, 2 * 10**9) * 10**9 + r.randrange(10**9)
            os.utime(path, ns=(ns, ns))

    def link(self):
        if self.files:
            path = self.fresh()
            os.link(self.r.choice(self.files), path)
            self.files.append(path)

    def symlink(self):
        r, path = self.r, self.fresh()
        depth = os.path.relpath(path, self.root).count(b"/")
        target = b"../" * r.randrange(depth + 1) + b"t%d" % r.randrange(100)
        if self.host and r.randrange(2):
            target = b"/etc/passwd"
        os.symlink(target, path)
        self.others.append(path)
        if self.host:
            os.lchown(path, r.randrange(2) * 1000, 0)

    def special(self):
        if not self.host:
            return self.symlink()
        path, kind = self.fresh(), self.r.randrange(4)
        if kind == 0:
            os.mkfifo(path)
        else:
            mode = [stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK][kind - 1]
            device = os.makedev(1, self.r.randrange(20)) if kind > 1 else 0
            os.mknod(path, mode | 0o600, device)
        self.others.append(path)

    def clone(self):
        if not self.files:
            return
        source, path = self.r.choice(self.files), self.fresh()
        with open(source, "rb") as s, open(path, "wb") as t:
            try:
                fcntl.ioctl(t, FICLONE, s.fileno())
            except OSError:
                pass
        self.files.append(path)

    def overwrite(self):
        if not self.files:
            return
        r, path = self.r, self.r.choice(self.files)
        with open(path, "r+b") as f:
            size = os.fstat(f.fileno()).st_size
            f.seek(r.randrange(size + 1))
            f.write(content(r))
            if r.randrange(3) == 0:
                f.truncate(r.randrange(size + 1))

    def punch(self):
        if not self.files:
            return
        path = self.r.choice(self.files)
        size = os.lstat(path).st_size
        if size > 8192:
            start = self.r.randrange(size // 4096) * 4096
            os.system(b"fallocate -p -o %d -l 4096 '%s' 2>/dev/null" %
                      (start, path.replace(b"'", b"'\\''")))

    def rename(self):
        r = self.r
        path = r.choice(self.files + self.dirs[1:] + self.others or [b""])
        if not path:
            return
        to = self.fresh()
        if not (to + b"/").startswith(path + b"/"):
            try:
                os.rename(path, to)
            except OSError:
                return
            self.scan()

    def swap(self):
        if len(self.files) > 1:
            a, b = self.r.sample(self.files, 2)
            t = self.fresh()
            os.rename(a, t); os.rename(b, a); os.rename(t, b)
            self.scan()

    def unlink(self):
        paths = self.files + self.others
        if paths:
            path = self.r.choice(paths)
            os.unlink(path)
            self.scan()

    def rmtree(self):
        if len(self.dirs) > 1:
            os.system(b"rm -rf '%s'" % self.r.choice(self.dirs[1:]).replace(b"'", b"'\\''"))
            self.scan()

    def replace(self):
        """A name that was a file becomes a folder, or the other way round."""
        if self.files:
            path = self.r.choice(self.files)
            os.unlink(path)
            os.mkdir(path)
            self.scan()

    def undress(self):
        path = self.r.choice(self.files + self.dirs)
        for key in os.listxattr(path):
            if key.startswith("user."):
                os.removexattr(path, key)
        self.dress(path)


def main():
    seed, flavour, action, root = sys.argv[1:5]
    r = random.Random("%s %s" % (seed, action))
    os.umask(0o022)
    t = Tree(os.fsencode(root), r, flavour == "host")
    if action == "make":
        steps = [t.file] * 6 + [t.folder] * 3 + [t.link, t.symlink, t.special, t.clone, t.deep]
        if "big" in sys.argv:
            with open(os.path.join(t.root, b"big"), "wb") as f:
                for _ in range(75):
                    f.write(r.randbytes(1 << 20)); f.write(b"\1" * (3 << 20))
            t.scan()
    else:
        steps = [t.file, t.folder, t.link, t.symlink, t.special, t.clone, t.overwrite,
                 t.overwrite, t.punch, t.rename, t.rename, t.rename, t.swap, t.unlink,
                 t.unlink, t.rmtree, t.replace, t.undress, t.undress]
    for _ in range(r.randrange(0, 60)):
        r.choice(steps)()


main()
