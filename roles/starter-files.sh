# shellcheck shell=sh
# Lists what ipsec.secrets and ipsec.conf hold, and what they include, 500 files at most:
# of keys as tasks.KeySource says, of conns as "line", number and text. The files in our
# folder are read by themselves: a hub has hundreds. All that are found at once are read by
# one sha256sum and one awk.
seen='
'
n=0 todo=''
# direct PATH: no link leads to it
direct() {
    case $1/ in [!/]* | *//* | */./* | */../*) return 1 ;; esac
    part=$1
    while [ -n "$part" ]; do [ ! -L "$part" ] || return 1; part=${part%/*}; done
}
# list KIND FILE: it is read next, once
list() {
    case $2 in /etc/ipsec.d/vpnpush/*) return ;; esac
    [ -f "$2" ] || return 0
    file=$2
    direct "$2" || file=$(readlink -f -- "$2") || return 0
    case $seen in *"
$file
"*) return ;; esac
    n=$((n + 1))
    [ "$n" -le 500 ] || { [ "$n" -ne 501 ] || printf 'cut\n'; return; }
    seen="$seen$file
"
    todo="$todo$1	$file	$2
"
}
# sums LINE...: those of the files of todo
sums() {
    printf '%s\n' "$@"
    echo
    for line; do line=${line#*	}; set -- "$@" "${line%%	*}"; shift; done
    sha256sum -- "$@" 2>/dev/null
}
# of an entry of keys what stands before the secret; patterns of include are relative to the
# directory of their file
# shellcheck disable=SC2016 # it is for awk
show='
function include(kind, file, what) {
    if (what !~ /^\//) { sub(/[^\/]*$/, "", file); what = file what }
    if (what != "" && index(what, "/etc/ipsec.d/vpnpush/") != 1) more = more kind "\t" what "\n"
}
function keys(file, l,    p, at, rest) {
    sub(/\r$/, "", l); sub(/^[ \t]+/, "", l)
    p = l
    if (sub(/^include /, "", p)) { sub(/ .*/, "", p); if (p != "") include("keys", file, p) }
    gsub(/[\001-\010\013-\037]/, "?", l)
    if (l ~ /^(#|include )/) return
    if (substr(l, 1, 2) == ": ") at = 2
    else if (at = index(l, " : ")) at += 2
    else return
    rest = substr(l, at)
    if (match(rest, /^[ \t]*PSK[ \t]/)) print "key\t" nr "\t" substr(l, 1, at + RLENGTH - 1)
}
function conns(file, l,    p) {
    p = l
    if (sub(/^[ \t]*include[ \t]+/, "", p)) { sub(/[ \t\r#].*/, "", p); gsub(/"/, "", p); if (p != "") include("conns", file, p) }
    sub(/\r$/, "", l); gsub(/[\001-\010\013-\037]/, "?", l)
    if (l ~ /^(conn|config|ca)[ \t]/ || l ~ /^[ \t]+(also|auto|authby|keyexchange|type|(left|right)(auth|id|protoport|subnet)?)[ \t]*=/) print "line\t" nr "\t" l
    else if (l ~ /^[ \t]+[A-Za-z0-9_-]+[ \t]*=/) { sub(/=.*/, "=", l); print "line\t" nr "\t" l }
}
!told && $0 == "" { told = 1; next }
!told { n = split($0, w, "\t"); kind[++files] = w[1]; path[files] = w[2]; named[files] = n == 3 ? w[3] : ""; next }
{ sum[substr($0, 67)] = substr($0, 1, 64) }
END {
    for (i = 1; i <= files; i++) {
        if (!(path[i] in sum) || named[i] == "") { print "unread\t" path[i]; continue }
        print "file\t" path[i] "\t" sum[path[i]]
        for (nr = 1; (getline l <named[i]) > 0; nr++) {
            if (l ~ /^# taken out by vpnpush: /) print "out\t" nr
            else if (kind[i] == "keys") keys(named[i], l)
            else conns(named[i], l)
        }
        close(named[i])
    }
    printf "include\n%s", more
}'
IFS='
'
list keys /etc/ipsec.secrets
list conns /etc/ipsec.conf
while [ -n "$todo" ]; do
    set -f
    # shellcheck disable=SC2086 # a line is one
    set -- $todo
    set +f
    todo=''
    out=$(sums "$@" | awk "$show") || { printf 'unread\t%s\n' "$1"; break; }
    out="
$out"
    case $out in *"
include"*) ;; *) printf 'unread\t%s\n' "$1"; break ;; esac
    shown=${out%
include*}
    [ -z "$shown" ] || printf '%s\n' "${shown#?}"
    set -f
    # shellcheck disable=SC2086
    set -- ${out##*
include}
    set +f
    for line; do for file in ${line#*	}; do list "${line%%	*}" "$file"; done; done
done
