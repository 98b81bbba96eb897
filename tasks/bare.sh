# shellcheck shell=sh
# The part of an apply script that was made for a host which nobody had looked at.

otherwise=''
differs() { otherwise="${otherwise:+$otherwise; }$1"; }

# as_packaged PATH: it is a file of a Debian package's, and as that brought it
as_packaged() {
    m=$(md5sum <"$1") && dpkg-query -W -f '${Conffiles}\n' | grep -qxF -e " $1 ${m%% *}"
}

# bare PATH...: nothing is there, or what a package brings
bare() {
    for p in "$@"; do
        if there "$p" && ! as_packaged "$p"; then differs "$p is there"; fi
    done
}

# suppose MEND SHELL: what SHELL prints is otherwise
suppose() {
    said=$(eval "$2" 2>&1 </dev/null) || said=${said:-a check of this box failed}
    [ -z "$said" ] || differs "$(printf '%s\n' "$said" | paste -sd ';' - | sed 's/;/; /g') ($1)"
}

# as_supposed: all of it was so
as_supposed() { [ -z "$otherwise" ] || refuse stale "$otherwise"; }

# keep_live PATH...: what these kernel parameters are comes back by a revert; the first
# time counts
keep_live() {
    for p in "$@"; do
        grep -qs "^$p	" "$txn/live" || printf '%s\t%s\n' "$p" "$(cat "$p")" >>"$txn/live"
    done
}

# live_back PATH: it is what it was
live_back() {
    sed -n "s|^$1	||p" "$txn/live" 2>/dev/null >"$txn/was"
    [ ! -s "$txn/was" ] || cat "$txn/was" >"$1"
}
