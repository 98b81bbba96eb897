# shellcheck shell=sh
# Lists the keys of ipsec.secrets and of what it includes (tasks.KeySource), 500 files at most.
keys_seen='
'
keys_n=0
keys_of() {
    file=$(readlink -f -- "$1") && [ -f "$file" ] || return 0
    case $keys_seen in *"
$file
"*) return ;; esac
    keys_n=$((keys_n + 1))
    [ "$keys_n" -le 500 ] || { [ "$keys_n" -ne 501 ] || printf 'cut\n'; return; }
    keys_seen="$keys_seen$file
"
    sum=$(sha256sum <"$file") || { printf 'unread\t%s\n' "$file"; return; }
    printf 'file\t%s\t%s\n' "$file" "${sum%% *}"
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
    # a pattern ends at a space, and is relative to the directory of its file
    # shellcheck disable=SC2013 # IFS is a newline
    for file in $(awk -v dir="${1%/*}/" '
        { sub(/\r$/, ""); sub(/^[ \t]+/, "") }
        sub(/^include /, "") { sub(/ .*/, ""); if ($0 != "") print (substr($0, 1, 1) == "/" ? "" : dir) $0 }' "$1"); do
        keys_of "$file"
    done
}
IFS='
'
keys_of /etc/ipsec.secrets
