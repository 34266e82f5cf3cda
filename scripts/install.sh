#!/bin/sh
# Installs op-dbus:   curl -fsSL URL/install.sh | sh -s -- [OPTIONS] [PLUGIN...]
#
#   --url URL       where the release lies (default: where this script was published)
#   --key KEY       minisign public key that must have signed it (default: the one built in)
#   --prefix DIR    install below DIR (default /usr/local, or ~/.local without root)
#   --yes           install the plugins named without asking
#   --dry-run       say what would be done, and do nothing
#   --uninstall     remove what this has installed; data below /var/lib/op-dbus stays
#
# PLUGIN is what `op-dbus plugin install` takes: a name, NAME@1.2.0, a file, a URL.
#
# Downloads SHA256SUMS and the executable, verifies the signature and the digest, starts
# the new file once, and only then puts it in its place; the previous one stays beside it
# as op-dbus.previous. Needs curl or wget, sha256sum, and minisign or openssl 3.
{ # Read as one piece: a download cut off inside this text runs nothing.
set -eu

url='@RELEASE_URL@' key='@RELEASE_KEY@'
prefix='' yes=no dry=no uninstall=no plugins=''
# The executable is about 65 MB; whatever sends far more is not one.
MAX_BYTES=300000000
MAX_TEXT_BYTES=1000000

say() { printf '%s\n' "$*"; }
die() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}
usage() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --url | --key | --prefix)
      [ $# -ge 2 ] || usage "$1 needs a value"
      case $1 in --url) url=$2 ;; --key) key=$2 ;; --prefix) prefix=$2 ;; esac
      shift
      ;;
    --yes) yes=yes ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    -*) usage "unknown option $1 (--url, --key, --prefix, --yes, --dry-run, --uninstall)" ;;
    *[!A-Za-z0-9@^~.:/_+-]*) usage "not a plugin: $1" ;;
    *) plugins="$plugins $1" ;;
  esac
  shift
done

if [ -z "$prefix" ]; then
  if [ "$(id -u)" -eq 0 ]; then prefix=/usr/local; else prefix=${HOME:?}/.local; fi
fi
case $prefix in /*) ;; *) usage "--prefix must be an absolute path, not $prefix" ;; esac
bin=$prefix/bin/op-dbus
completions="$prefix/share/bash-completion/completions/op-dbus
$prefix/share/zsh/site-functions/_op-dbus
$prefix/share/fish/vendor_completions.d/op-dbus.fish"

if [ "$uninstall" = yes ]; then
  runtime=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/op-dbus
  [ "$(id -u)" -ne 0 ] || runtime=/var/cache/op-dbus
  # A line is a path: split at its spaces it would name folders of somebody else.
  printf '%s\n' "$bin" "$bin.previous" "$completions" "$runtime" | while IFS= read -r path; do
    [ -e "$path" ] || continue
    say "Removing $path"
    [ "$dry" = yes ] || rm -rf -- "$path"
  done
  say "Left alone: /etc/op-dbus, /var/lib/op-dbus"
  exit 0
fi

# --- where from, and what
case $url in
  @*) usage "--url is needed: this copy does not know where the release lies" ;;
  https://* | http://127.0.0.1[:/]* | http://localhost[:/]*) ;;
  *) usage "--url must start with https://, not $url" ;;
esac
case $key in
  @*) usage "--key is needed: this copy knows no release key" ;;
  RW*) [ ${#key} -eq 56 ] || usage "--key is a minisign public key: 56 characters that start with RW" ;;
  *) usage "--key is a minisign public key: 56 characters that start with RW" ;;
esac
[ "$(uname -s)" = Linux ] || die "op-dbus runs on Linux only"
case $(uname -m) in
  x86_64 | amd64) arch=x86_64 ;;
  aarch64 | arm64) arch=aarch64 ;;
  *) die "op-dbus runs on x86_64 and aarch64; this is $(uname -m)" ;;
esac
name=op-dbus-linux-$arch
command -v sha256sum >/dev/null || die "sha256sum is missing"
command -v curl >/dev/null || command -v wget >/dev/null || die "curl or wget is needed"
if command -v minisign >/dev/null; then
  verifier=minisign
elif openssl pkeyutl -help 2>&1 | grep -q -e -rawin; then
  verifier=openssl
else
  die "minisign or openssl 3 is needed to check the signature: apt-get install minisign"
fi
if [ "$dry" = yes ]; then
  say "Would download $url/$name, verify its SHA-256 and signature (with $verifier), and install it as $bin"
  [ -z "$plugins" ] || say "Would install plugins:$plugins"
  exit 0
fi

mkdir -p -- "$prefix/bin" || die "cannot create $prefix/bin"
# Beside its place, so that the last step is one rename.
work=$(mktemp -d "$prefix/bin/.op-dbus.XXXXXX") || die "cannot write to $prefix/bin: run as root, or name a --prefix"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# download URL: to standard output.
download() {
  if command -v curl >/dev/null; then
    curl -fsL --proto '=https,http' --connect-timeout 30 --speed-limit 1000 --speed-time 60 -- "$1"
  else
    wget -q --timeout=60 --tries=2 -O - -- "$1"
  fi
}

# fetch NAME LIMIT: downloads url/NAME into the work folder, and no more than LIMIT bytes:
# curl's own limit needs a server that tells the length. What is short is found by digest.
fetch() {
  download "$url/$1" 2>/dev/null | head -c "$(($2 + 1))" >"$work/$1"
  bytes=$(wc -c <"$work/$1")
  [ "$bytes" -gt 0 ] || die "cannot download $url/$1"
  [ "$bytes" -le "$2" ] || die "$url/$1 is larger than $2 bytes: not what it should be"
}

# decode: base64 from standard input.
decode() { openssl base64 -d -A; }

# verified: SHA256SUMS.minisig is a signature of SHA256SUMS and of its trusted comment.
verified() {
  if [ $verifier = minisign ]; then
    minisign -V -q -P "$key" -m "$work/SHA256SUMS" -x "$work/SHA256SUMS.minisig" >/dev/null 2>&1
    return
  fi
  # The same by openssl: Ed25519 over the BLAKE2b-512 of the file, then over the signature
  # and the trusted comment. A key is "Ed", eight bytes of id, 32 of key.
  sed -n 2p "$work/SHA256SUMS.minisig" | decode >"$work/sig"
  sed -n 4p "$work/SHA256SUMS.minisig" | decode >"$work/global"
  printf '%s' "$key" | decode >"$work/key"
  [ "$(head -c 2 "$work/sig")" = ED ] && [ "$(head -c 2 "$work/key")" = Ed ] || return 1
  [ "$(wc -c <"$work/sig")" -eq 74 ] && [ "$(wc -c <"$work/key")" -eq 42 ] || return 1
  # SubjectPublicKeyInfo of Ed25519 (RFC 8410).
  { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c 32 "$work/key"; } >"$work/key.der"
  tail -c 64 "$work/sig" >"$work/raw"
  openssl dgst -blake2b512 -binary <"$work/SHA256SUMS" >"$work/hash"
  { cat "$work/raw"; sed -n '3s/^trusted comment: //p' "$work/SHA256SUMS.minisig" | tr -d '\n'; } >"$work/all"
  openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$work/hash" \
    -sigfile "$work/raw" >/dev/null 2>&1 &&
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$work/all" \
      -sigfile "$work/global" >/dev/null 2>&1
}

fetch SHA256SUMS $MAX_TEXT_BYTES
fetch SHA256SUMS.minisig $MAX_TEXT_BYTES
verified || die "wrong signature on $url/SHA256SUMS: nothing was installed"
# What the signature says it is of: the key may have signed other things too.
comment=$(sed -n '3s/^trusted comment: //p' "$work/SHA256SUMS.minisig")
tab=$(printf '\t')
case $tab$comment in
  *"${tab}file:SHA256SUMS${tab}version:"[0-9]*) signed=${comment##*version:} ;;
  *) die "what is signed at $url is no release of op-dbus" ;;
esac
sum=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\$/\1/p" "$work/SHA256SUMS")
[ ${#sum} -eq 64 ] || die "the release at $url has no $name"
say "Downloading $url/$name"
fetch "$name" $MAX_BYTES
printf '%s  %s\n' "$sum" "$work/$name" | sha256sum -c - >/dev/null 2>&1 ||
  die "wrong SHA-256 of $url/$name: nothing was installed"
chmod 755 "$work/$name"
version=$("$work/$name" version) || die "the new op-dbus does not start: nothing was installed"
case $version in
  "op-dbus $signed" | "op-dbus $signed "*) ;;
  *) die "the new op-dbus says it is $version, and $signed was signed: nothing was installed" ;;
esac

if [ -e "$bin" ]; then
  ln -f -- "$bin" "$bin.previous" 2>/dev/null || cp -p -- "$bin" "$bin.previous"
fi
mv -f -- "$work/$name" "$bin"
say "Installed $version as $bin"
printf '%s\n' "$completions" | while IFS= read -r file; do
  case $file in *.fish) shell=fish ;; */_op-dbus) shell=zsh ;; *) shell=bash ;; esac
  { mkdir -p -- "${file%/*}" && "$bin" completions $shell >"$file"; } 2>/dev/null ||
    say "No completions for $shell: cannot write $file"
done
case :$PATH: in *":$prefix/bin:"*) ;; *) say "$prefix/bin is not on your PATH" ;; esac

for plugin in $plugins; do
  say "Installing plugin $plugin"
  if [ "$yes" = yes ]; then
    "$bin" plugin install --yes "$plugin" </dev/null
  elif { : </dev/tty; } 2>/dev/null; then
    # Standard input is this script; what it asks is answered at the terminal.
    "$bin" plugin install "$plugin" </dev/tty
  else
    "$bin" plugin install "$plugin" </dev/null
  fi || die "plugin $plugin was not installed (op-dbus itself was)"
done
exit 0
}
