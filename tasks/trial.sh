# shellcheck shell=sh
# The part of an apply script that tries what is to be written, before anything is
# changed: in namespaces of its own, on a copy of /etc, with no network. The host sees
# nothing of it, and however it ends, nothing of it is left.

# tried CMD OURS: CMD runs on what is to be written. It puts what it finds into the file
# listed, and what is wrong into the file said: path, line and words. What is to be
# listed comes on standard input, a line each, with the file that it stands in behind a
# tab. OURS is what the paths of our files begin with. A host that allows no trial goes without.
tried() {
    unshare --net --mount --pid --fork --kill-child --mount-proc -- /bin/sh "$txn/apply.sh" trial "$1" "$2" \
        >"$txn/trial" 2>"$txn/trial.err" 9>&- || :
    bad=0
    case $(tail -n 1 -- "$txn/trial") in
    good) sed -n 's/^note	//p' "$txn/trial" | head -n 10 | while read -r l; do warn "$l"; done ;;
    bad)
        sed -n 's/^bad	//p' "$txn/trial" | head -n 40
        bad=1
        ;;
    *) warn "what is to be written could not be tried first: $(tail -n 1 -- "$txn/trial.err")" ;;
    esac
    rm -f -- "$txn/trial" "$txn/trial.err"
    return "$bad"
}

# on_copy: in the namespaces, what may be written is a copy from here on
on_copy() {
    mount -t tmpfs -o mode=0755 tmpfs /run
    mkdir -p /run/lock /run/etc /run/state /run/trial
    cp -a /etc/. /run/etc
    mount --bind /run/etc /etc
    cp -a -- "$state/." /run/state
    mount --bind /run/state "$state"
    mount -t tmpfs tmpfs /var/log
}

# in_trial CMD OURS: the other end of it, in the namespaces
in_trial() {
    set -eu
    on_copy
    cat >/run/trial/wanted
    # packages that are to be installed by then (swap.sh)
    if [ -d "$txn/debs" ]; then swap_unpack; fi
    write >/dev/null
    "$1" "$2" >/dev/null
    cd /run/trial
    # What is said of a file that is not ours is no reason to stop, unless something of
    # ours is not there. Of "NAME joins A === B" the networks come in any order.
    awk -F '\t' -v ours="$2" '
        function sorted(list, a, n, i, j, w) {
            n = split(list, a, " ")
            for (i = 2; i <= n; i++) { w = a[i]; for (j = i - 1; j > 0 && a[j] > w; j--) a[j + 1] = a[j]; a[j + 1] = w }
            list = a[1]
            for (i = 2; i <= n; i++) list = list " " a[i]
            return list
        }
        FILENAME == "listed" {
            if (match($0, / joins /) && split(substr($0, RSTART + 7), side, " === ") == 2)
                $0 = substr($0, 1, RSTART + 6) sorted(side[1]) " === " sorted(side[2])
            some = listed[$0] = 1
            next
        }
        FILENAME == "said" {
            mine = index($1, ours) == 1
            what[++n] = ($1 == "" ? "" : $1 ($2 == "" ? "" : ":" $2) ": ") $3 (mine || $1 == "" ? "" : "; the file is not vpnpush'\''s")
            if (mine) { bad = 1; blamed[$1] = 1 }
            next
        }
        !($1 in listed) { bad = 1; if (!($2 in blamed)) missing[++m] = $2 ": not found once it was loaded: " $1 }
        END {
            for (i = 1; i <= n; i++) print (bad ? "bad" : "note") "\t" what[i]
            # where nothing is loaded at all, what was said tells why
            if (some || !n) for (i = 1; i <= m; i++) print "bad\t" missing[i]
            print bad ? "bad" : "good"
        }' listed said wanted
}
