# shellcheck shell=sh
# The part of an apply script that writes files.

# put_tmp PATH MODE OWNER: a new file beside PATH, ready but for its content
put_tmp() {
    dir=${1%/*}
    [ -d "$dir" ] || (umask 022 && mkdir -p -- "$dir")
    tmp=$(mktemp -- "$dir/.vpnpush.XXXXXX")
    chown -- "$3" "$tmp"
    chmod -- "$2" "$tmp"
}

# sweep DIR: what put_tmp has left there when it was cut short
sweep() { rm -f -- "$1"/.vpnpush.??????; }

# put PATH MODE OWNER: PATH becomes what comes on standard input, at once
put() {
    put_tmp "$@"
    if cat >"$tmp" && sync -- "$tmp" && mv -fT -- "$tmp" "$1"; then sync -- "$dir"; else rm -f -- "$tmp"; return 1; fi
}

# keep_first PATH COPY: what stands at PATH is not ours, and comes back when ours goes
keep_first() {
    if [ -e "$1" ]; then mkdir -p -- "${2%/*}" && cp -a -- "$1" "$2"; fi
}

# put_first PATH COPY: it is back, with its mode, owner and time
put_first() {
    put_tmp "$1" 0600 root:root
    cp -a -- "$2" "$tmp"
    sync -- "$tmp"
    mv -fT -- "$tmp" "$1"
    sync -- "${1%/*}"
    rm -f -- "$2"
}

# mode_of PATH MODE: sets mode and own to the file's own, or to the given ones
mode_of() {
    mode=$2 own=root:root
    if [ -e "$1" ]; then mode=$(stat -c %a -- "$1") own=$(stat -c %u:%g -- "$1"); fi
}

# line PATH MODE LINE: PATH has LINE; it is appended where it has not
line() {
    if [ -e "$1" ] && grep -qxF -e "$3" -- "$1"; then return 0; fi
    mode_of "$1" "$2"
    : >"$txn/edited"
    if [ -s "$1" ]; then
        cat -- "$1" >"$txn/edited"
        # a last line without an end must not swallow ours
        [ -z "$(tail -c 1 -- "$1")" ] || echo >>"$txn/edited"
    fi
    printf '%s\n' "$3" >>"$txn/edited"
    put "$1" "$mode" "$own" <"$txn/edited"
    rm -f -- "$txn/edited"
}

# no_line PATH LINE: PATH has LINE no more
no_line() {
    [ -e "$1" ] || return 0
    mode_of "$1" 0600
    awk -v line="$2" '$0 != line' "$1" >"$txn/edited2"
    same_end "$1" "$txn/edited2" "$2"
    put "$1" "$mode" "$own" <"$txn/edited2"
    rm -f -- "$txn/edited2"
}

# same_end OLD NEW LINE: awk ends a last line that had no end; where OLD had none,
# and its last line is not LINE, which went, NEW is to have none either
same_end() {
    if [ -n "$(tail -c 1 -- "$1")" ] && [ "$(tail -n 1 -- "$1")" != "$3" ]; then
        head -c -1 "$2" >"$2.cut"
        mv -f -- "$2.cut" "$2"
    fi
}

# block PATH MODE BEGIN END: what comes on standard input stands between the
# lines BEGIN and END of PATH; nothing: the lines go too
block() {
    mode_of "$1" "$2"
    cat >"$txn/block"
    : >"$txn/edited"
    if [ -s "$1" ]; then cat -- "$1" >"$txn/edited"; fi
    if ! grep -qxF -e "$3" -- "$txn/edited"; then
        if [ -s "$txn/block" ]; then
            if [ -s "$1" ] && [ -n "$(tail -c 1 -- "$1")" ]; then echo >>"$txn/edited"; fi
            { printf '%s\n' "$3"; cat -- "$txn/block"; printf '%s\n' "$4"; } >>"$txn/edited"
        fi
    else
        awk -v from="$3" -v to="$4" -v new="$txn/block" '
            $0 == from && !done { done = skip = 1; while ((getline l <new) > 0) { if (!n++) print from; print l }; if (n) print to; next }
            skip && $0 == to { skip = 0; next }
            !skip { print }' "$txn/edited" >"$txn/edited2"
        same_end "$1" "$txn/edited2" "$4"
        cat -- "$txn/edited2" >"$txn/edited"
        rm -f -- "$txn/edited2"
    fi
    put "$1" "$mode" "$own" <"$txn/edited"
    rm -f -- "$txn/block" "$txn/edited"
}
