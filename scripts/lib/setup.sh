# shellcheck shell=sh
# shellcheck disable=SC2154
# What scripts/try, scripts/test and .ci/run share: getting Deno and Debian packages onto
# a bare machine, and taking away what a run made. Sourced, with $repo set to the checkout.
#
# Everything is announced before it happens and asks nothing.

DENO_VERSION=2.9.6

say() { printf '%s\n' "$*"; }
die() {
  printf '%s\n' "$*" >&2
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# deno_is FILE: FILE is a Deno of the pinned version.
deno_is() {
  [ -x "$1" ] && [ "$("$1" --version 2>/dev/null | sed -n '1s/^deno \([^ ]*\).*/\1/p')" = "$DENO_VERSION" ]
}

# need_deno: sets $deno to a Deno of the pinned version, installing it where missing, and
# puts it first on PATH for the tasks that call `deno`.
need_deno() {
  case $(uname -m) in
    x86_64) deno_package=@deno/linux-x64-glibc ;;
    aarch64) deno_package=@deno/linux-arm64-glibc ;;
    *) die "op-dbus runs on x86_64 and aarch64; this is $(uname -m)" ;;
  esac
  deno=$(command -v deno || :)
  if [ -z "$deno" ] || ! deno_is "$deno"; then
    deno=$repo/.tools/node_modules/$deno_package/deno
    deno_is "$deno" || install_deno
  fi
  # An own folder with nothing else in it, so that PATH gains deno alone.
  mkdir -p "$repo/.tools/bin"
  [ "$deno" = "$repo/.tools/bin/deno" ] || ln -sfn "$deno" "$repo/.tools/bin/deno"
  PATH=$repo/.tools/bin:$PATH DENO_NO_UPDATE_CHECK=1
  # Beside Deno's own list the machine's, as npm and apt use it (a company's proxy).
  DENO_TLS_CA_STORE=${DENO_TLS_CA_STORE:-system,mozilla}
  export PATH DENO_NO_UPDATE_CHECK DENO_TLS_CA_STORE
}

install_deno() {
  command -v npm >/dev/null || die "npm not found: install node and npm first (apt-get install npm)"
  say "Installing Deno $DENO_VERSION into .tools/ (npm package $deno_package)"
  mkdir -p "$repo/.tools"
  cp "$repo/scripts/toolchain/package.json" "$repo/scripts/toolchain/package-lock.json" "$repo/.tools/"
  (cd "$repo/.tools" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
    die "npm could not install Deno $DENO_VERSION"
  deno_is "$deno" || die "Deno does not start: $deno (glibc 2.27 or newer is needed)"
}

# missing_packages NAME...: those that dpkg does not have installed, one a line.
missing_packages() {
  for package; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
      "install ok installed") ;;
      *) printf '%s\n' "$package" ;;
    esac
  done
}

# need_packages NAME...: installs what is missing; returns 1 and says so where it cannot.
need_packages() {
  missing=$(missing_packages "$@" | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  if ! is_root || ! command -v apt-get >/dev/null; then
    say "Not installed here (needs root and apt-get): $missing"
    return 1
  fi
  say "Installing Debian packages: $missing"
  # shellcheck disable=SC2086 # names without spaces, on purpose split
  apt_get install $missing || { apt_get update && apt_get install $missing; } || install_each $missing
}

# install_each NAME...: one by one, because apt-get installs none of a list in which it does
# not know one (another release of Debian, Ubuntu); returns 1 where one is missing then.
install_each() {
  failed=''
  for package; do
    apt_get install "$package" || failed="$failed $package"
  done
  [ -n "$failed" ] || return 0
  say "apt-get could not install:$failed"
  return 1
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null
}

# can_loop_mount: this process may mount a btrfs image.
can_loop_mount() {
  is_root && [ -e /dev/loop-control ] && command -v mkfs.btrfs >/dev/null &&
    { grep -qw btrfs /proc/filesystems || modprobe btrfs 2>/dev/null; }
}

# clear_folder DIR: unmounts all that is mounted below DIR, frees loop devices whose file
# is below it, and removes it. Touches nothing else.
clear_folder() {
  case $1 in /*/*) ;; *) die "clear_folder: not a folder of ours: $1" ;; esac
  [ -d "$1" ] || return 0
  # Deepest first: a mount inside a mount goes before the outer one.
  cut -d' ' -f5 /proc/self/mountinfo | grep -F "$1/" | sort -r | while read -r mounted; do
    case $mounted in "$1"/*) umount -l "$(printf '%b' "$mounted")" || : ;; esac
  done
  if is_root && command -v losetup >/dev/null; then
    losetup -l -n -O NAME,BACK-FILE 2>/dev/null | while read -r device file _; do
      case $file in "$1"/*) losetup -d "$device" || : ;; esac
    done
  fi
  # Read-only subvolumes and folders without write permission would keep rm from its work.
  rm -rf -- "$1" 2>/dev/null || { chmod -R u+rwX "$1" 2>/dev/null; rm -rf -- "$1"; }
}
