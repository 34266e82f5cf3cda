#!/bin/sh
{ # Read as one piece: a file cut off inside this text runs nothing.
# @APP@ @VERSION@ (linux-@ARCH@), a one-file program: this text, then gzip data.
# It unpacks once into a private folder and runs from there. Nothing is fetched.
#   @ENV@_RUNTIME_DIR=DIR     unpack below DIR instead (not read as root)
#   @ENV@_RUNTIME_VERIFY=1    check the unpacked files' SHA-256 again before running
# Exit 125: @APP@ could not be started (why is on standard error); else its own status.
app=@APP@ id=@ID@ size=@SIZE@
# first byte in this file (from 1) and compressed bytes: of the runtime, of the parts
runtime='@RUNTIME@' pack='@PACK@'
# name, bytes, SHA-256: the runtime, then the parts in the order of the pack
parts='@PARTS@'
path0=${PATH-/usr/local/bin:/usr/bin:/bin} mask0=$(umask)
PATH=/usr/sbin:/usr/bin:/sbin:/bin
lc_all0=${LC_ALL-} LC_ALL=C
export PATH LC_ALL
unset GZIP CDPATH
die() {
  echo "$app: $*" >&2
  exit 125
}
case $0 in
  /*) self=$0 ;;
  */*) self=$PWD/$0 ;;
  *) if [ -f "$0" ]; then self=$PWD/$0; else self=$(PATH=$path0; command -v -- "$0"); fi ;;
esac
[ -r "$self" ] || die "cannot read its own file $self: make it readable"
uid=$(id -u) || die "cannot find out the user: id(1) is missing"

# mine PATH...: each is a real folder or file (no link) of root or of this user, which
# nobody else can write to. Reads ls(1), whose columns POSIX fixes, so busybox does too.
# Leaves the sizes in $sizes, in the byte order of the paths, as ls sorts them.
mine() {
  # In bytes, whatever BLOCK_SIZE its caller likes.
  listing=$(LS_BLOCK_SIZE=1 ls -ldn -- "$@" 2>/dev/null) || return 1
  count=0 sizes=
  while read -r bits _ owner _ bytes _; do
    case $bits in l* | ?????w* | ????????w*) return 1 ;; esac
    case $owner in 0 | "$uid") ;; *) return 1 ;; esac
    count=$((count + 1)) sizes="$sizes $bytes"
  done <<END
$listing
END
  [ $count -eq $# ]
}
# safe DIR: nobody else can rename what is in it: it and every folder above belong to root
# or this user and are not writable by others, or are sticky (/tmp), or are writable only
# by the user's own group (gid = uid, umask 002).
safe() {
  above=$1 dirs=
  set --
  while [ -n "$above" ]; do
    set -- "$@" "$above"
    above=${above%/*}
  done
  dirs=$(ls -ldnL -- / "$@" 2>/dev/null) || return 1
  while read -r bits _ owner group _; do
    case $owner in 0 | "$uid") ;; *) return 1 ;; esac
    case $bits in
      d????????[tT]*) ;;
      d???????w*) return 1 ;;
      d????w*) [ "$group" = "$uid" ] || return 1 ;;
      d*) ;;
      *) return 1 ;;
    esac
  done <<END
$dirs
END
}
# ready BASE: unpacked there, whole and trustworthy. The parts of app/ were on disk before
# the folder got its name, and a folder that only its owner can write to keeps them.
ready() {
  case $1 in /*) ;; *) return 1 ;; esac # "" too: none, or one of the folder we are in
  dir=$1/$id
  mine "$1" "$dir" "$dir/app" "$dir/@MAIN@" "$dir/$app" || return 1
  # A power cut may leave empty files behind a finished rename.
  case $sizes in *" @SIZES@") ;; *) return 1 ;; esac
  [ "${@ENV@_RUNTIME_VERIFY-}" != 1 ] || check "$dir"
}
check() { # check DIR: the files' SHA-256
  (
    cd "$1" && printf '%s\n' "$parts" | while read -r file _ sum; do
      echo "$sum  $file"
    done | sha256sum -c - >/dev/null 2>&1
  )
}
run() {
  umask "$mask0"
  # The runtime's own switches are not the caller's to set; whom to trust for TLS is.
  while read -r _ name; do
    name=${name%%=*}
    case $name in
      *[!A-Za-z0-9_]* | DENO_CERT | DENO_TLS_CA_STORE | NODE_EXTRA_CA_CERTS) ;;
      DENO_* | NODE_* | OTEL_* | COMPLETE) unset "$name" ;;
    esac
  done <<END
$(export -p)
END
  PATH=$path0 @ENV@_EXE=$self DENO_DIR=$dir/cache
  DENO_NO_UPDATE_CHECK=1 DENO_DISABLE_NODE_SHIM=1
  export PATH @ENV@_EXE DENO_DIR DENO_NO_UPDATE_CHECK DENO_DISABLE_NODE_SHIM
  if [ -n "$lc_all0" ]; then LC_ALL=$lc_all0; else unset LC_ALL; fi
  exec "$dir/$app" run --quiet --no-prompt --no-config --no-lock --no-npm --no-remote \
    --cached-only @PERMISSIONS@ "$dir/@MAIN@" "$@"
}

if [ "$uid" = 0 ]; then # root: fixed places; HOME, TMPDIR and the like are not asked
  mode=755
  set -- "/var/cache/$app" "/var/lib/$app-runtime" "/run/$app-runtime" "$@"
  places=3
else
  mode=700
  home=${HOME-}
  [ -n "$home" ] || home=$( (getent passwd "$uid" || grep "^[^:]*:[^:]*:$uid:" /etc/passwd) 2>/dev/null | cut -d: -f6)
  set -- "${@ENV@_RUNTIME_DIR:-}" "${XDG_CACHE_HOME:-${home:+$home/.cache}}/$app" \
    "/run/user/$uid/$app" "${TMPDIR:-/tmp}/$app-$uid" "/var/tmp/$app-$uid" "/dev/shm/$app-$uid" "$@"
  places=6
  # What root has unpacked serves everybody.
  if ready "/var/cache/$app"; then
    shift $places
    run "$@"
  fi
fi
at=0
for place; do
  [ $at -lt $places ] || break
  at=$((at + 1))
  if ready "$place"; then
    shift $places
    run "$@"
  fi
done

# The first run: unpack.
have=$(wc -c <"$self") || die "cannot read its own file $self"
[ "$have" -eq "$size" ] ||
  die "incomplete download: $self has $have bytes instead of $size; download it again"
why=
no() { # no PLACE REASON: remembers why a place was not used
  why="$why
  $1: $2"
  return 1
}
try() { # try BASE: unpacks below BASE
  case $1 in /"$app" | "") return 1 ;; /*) ;; *) no "$1" "not an absolute path" || return 1 ;; esac
  parent=${1%/*}
  umask 077
  [ -d "$parent" ] || mkdir -p -- "$parent" 2>/dev/null || no "$1" "cannot create $parent" || return 1
  safe "$parent" || no "$1" "others can write to $parent or a folder above it, or it is not yours" || return 1
  [ -d "$1" ] || mkdir -m $mode -- "$1" 2>/dev/null || [ -d "$1" ] || no "$1" "cannot create it" || return 1
  mine "$1" || no "$1" "not yours, a link, or others can write to it" || return 1
  # Left by runs that were killed.
  find "$1" -maxdepth 1 -name '.new.??????' -mmin +60 -exec rm -rf {} + 2>/dev/null
  new=$(mktemp -d "$1/.new.XXXXXX" 2>/dev/null) || no "$1" "cannot write there" || return 1
  trap 'rm -rf -- "$new"' 0
  trap 'exit 130' 2
  trap 'exit 143' 1 15
  done=1
  unpack "$1" || done=0
  rm -rf -- "$new"
  trap - 0 1 2 15
  [ $done = 1 ]
}
# extract FIRST BYTES FILE: one gzip member of this file
extract() {
  { tail -c "+$1" -- "$self" | head -c "$2" | gzip -dc >"$3"; } 2>/dev/null
}
divide() { # cuts the pack into its parts
  from=1
  printf '%s\n' "$parts" | {
    read -r _ # the runtime is no part of the pack
    while read -r file bytes _; do
      tail -c "+$from" "$new/pack" 2>/dev/null | head -c "$bytes" >"$new/$file" || exit 1
      from=$((from + bytes))
    done
  } 2>/dev/null
  rm -f "$new/pack"
}
place_app() { # puts app/ in its place, unless another run has done so
  if [ -d "$dir/app" ]; then
    check "$dir" && return 0
    mv -f -- "$dir/app" "$new/damaged" || return 1
  fi
  # Where another run is faster after all, mv puts ours inside its app/, or fails where a
  # third has done that: what counts is that a whole one is there.
  # shellcheck disable=SC2015 # the check is for a failed removal, too
  mv -f -- "$new/app" "$dir/app" 2>/dev/null && rm -rf -- "$dir/app/app" || check "$dir"
}
# shellcheck disable=SC2086 # $runtime and $pack are two numbers each
unpack() {
  extract $runtime "$new/$app" &
  mkdir "$new/app" && extract $pack "$new/pack"
  packed=$?
  wait $! && [ $packed = 0 ] && divide ||
    no "$1" "cannot write (is the disk full?)" || return 1
  check "$new" ||
    no "$1" "the unpacked files' SHA-256 is wrong: disk full, or a damaged download" || return 1
  (cd "$new" && chmod $mode "./$app" app && { [ $mode = 700 ] || chmod 644 app/*; }) 2>/dev/null ||
    no "$1" "cannot change permissions" || return 1
  (cd "$new" && DENO_DIR="$new/cache" "./$app" --version) >/dev/null 2>&1
  started=$?
  [ $started = 0 ] || [ "$(uname -m)" = @ARCH@ ] ||
    no "$1" "this file is for @ARCH@ and this machine is $(uname -m): download the one for it" || return 1
  case $started in
    0) ;;
    126) no "$1" "programs may not run from here (mounted noexec)" || return 1 ;;
    *) no "$1" "its runtime does not start: it needs glibc 2.27 or newer, libgcc_s.so.1 and /proc (musl systems such as Alpine are not supported)" || return 1 ;;
  esac
  dir=$1/$id
  [ -d "$dir" ] || mkdir -m $mode -- "$dir" 2>/dev/null || [ -d "$dir" ] || no "$dir" "cannot create it" || return 1
  mine "$dir" || no "$dir" "not yours, a link, or others can write to it" || return 1
  # npm/ too: the runtime makes it by the umask of whoever runs first, and uses it for nothing.
  [ -d "$dir/cache" ] || mkdir -m $mode -- "$dir/cache" "$dir/cache/npm" 2>/dev/null
  # The bytes first, then the names: ready() trusts names and sizes.
  (cd "$new" && sync "./$app" app/*) 2>/dev/null || sync
  mv -f -- "$new/$app" "$dir/$app" && place_app ||
    no "$dir" "cannot put the files there" || return 1
  # Unpacked long ago by another version that nobody runs now: a service that runs on while
  # it is updated reads parts of itself late. OPDBUS_RUNTIME_DIR may hold other folders too.
  find "$1" -maxdepth 1 -mindepth 1 -type d -name '????????????????' ! -name "$id" -mtime +30 2>/dev/null |
    while IFS= read -r old; do
      case ${old##*/} in *[!0-9a-f]*) continue ;; esac
      [ -f "$old/$app" ] || continue
      # shellcheck disable=SC2010 # it is the links' targets that are looked through
      ls -l /proc/[0-9]*/exe 2>/dev/null | grep -qF "/${old##*/}/$app" || rm -rf -- "$old" 2>/dev/null
    done
  return 0
}
at=0
for place; do
  [ $at -lt $places ] || break
  at=$((at + 1))
  if try "$place" && ready "$place"; then
    shift $places
    run "$@"
  fi
done
die "no place to unpack to. Tried:$why
Set @ENV@_RUNTIME_DIR to a folder of yours from which programs may run."
}
