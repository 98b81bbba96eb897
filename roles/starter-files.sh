# shellcheck shell=sh
# Lists what ipsec.secrets and ipsec.conf hold, and what they include, 500 files at most:
# of keys as tasks.KeySource says, of conns as "line", number and text. The files in our
# folder are read by themselves: a hub has hundreds.
seen='
'
n=0
# list KIND FILE: what show_KIND prints of it, and of the files that it includes, each once
list() {
    case $2 in /etc/ipsec.d/vpnpush/*) return ;; esac
    file=$(readlink -f -- "$2") && [ -f "$file" ] || return 0
    case $seen in *"
$file
"*) return ;; esac
    n=$((n + 1))
    [ "$n" -le 500 ] || { [ "$n" -ne 501 ] || printf 'cut\n'; return; }
    seen="$seen$file
"
    sum=$(sha256sum <"$file") || { printf 'unread\t%s\n' "$file"; return; }
    printf 'file\t%s\t%s\n' "$file" "${sum%% *}"
    "show_$1" "$2"
    # patterns, relative to the directory of their file
    for file in $("included_$1" "$2" | awk -v dir="${2%/*}/" '{ print (/^\// ? "" : dir) $0 }'); do list "$1" "$file"; done
}
# of an entry what stands before the secret
show_keys() {
    awk '
        /^# taken out by vpnpush: / { print "out\t" NR; next }
        { sub(/\r$/, ""); sub(/^[ \t]+/, ""); gsub(/[\001-\010\013-\037]/, "?") }
        /^(#|include )/ { next }
        {
            if (substr($0, 1, 2) == ": ") at = 2
            else if (at = index($0, " : ")) at += 2
            else next
            rest = substr($0, at)
            if (match(rest, /^[ \t]*PSK[ \t]/)) print "key\t" NR "\t" substr($0, 1, at + RLENGTH - 1)
        }' "$1"
}
included_keys() { awk '{ sub(/\r$/, ""); sub(/^[ \t]+/, "") } sub(/^include /, "") { sub(/ .*/, ""); if ($0 != "") print }' "$1"; }
show_conns() {
    awk '
        /^# taken out by vpnpush: / { print "out\t" NR; next }
        { sub(/\r$/, ""); gsub(/[\001-\010\013-\037]/, "?") }
        /^(conn|config|ca)[ \t]/ || /^[ \t]+(also|auto|authby|keyexchange|type|(left|right)(auth|id|protoport|subnet)?)[ \t]*=/ { print "line\t" NR "\t" $0; next }
        /^[ \t]+[A-Za-z0-9_-]+[ \t]*=/ { sub(/=.*/, "="); print "line\t" NR "\t" $0 }' "$1"
}
included_conns() { awk 'sub(/^[ \t]*include[ \t]+/, "") { sub(/[ \t\r#].*/, ""); gsub(/"/, ""); if ($0 != "") print }' "$1"; }
IFS='
'
list keys /etc/ipsec.secrets
list conns /etc/ipsec.conf
