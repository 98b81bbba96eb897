# shellcheck shell=sh
# What dials a tunnel of starter's anew: for an apply script, and for the service that
# watches a site's tunnel.

# starter_sas CONN...: their IKE SAs, as NAME[N], one a line
starter_sas() {
    [ $# -gt 0 ] || return 0
    # of a hub they are more than one argument takes
    { printf '%s\n' "$@"; echo; ipsec status 2>/dev/null; } | awk '
        !told && $0 == "" { told = 1; next }
        !told { ours[$0]; next }
        { n = $1; sub(/:$/, "", n); conn = n }
        sub(/\[[0-9]+\]$/, "", conn) && conn in ours { print n }'
}

# starter_state CONN: prints how it stands: "up"; "bare", an IKE SA without a child SA,
# which charon leaves at that; "none"; or "other", charon is at it, or does not run
starter_state() {
    timeout 5 ipsec status 2>/dev/null | awk -v name="$1" '
        /^Security Associations/ { runs = 1 }
        { n = $1; sub(/:$/, "", n); conn = n; child = sub(/\{[0-9]+\}$/, "", conn); ike = sub(/\[[0-9]+\]$/, "", conn) }
        conn != name { next }
        child && $2 ~ /^(INSTALLED|REKEYING),/ { up = 1 }
        child && $2 ~ /^(CREATED|ROUTED|INSTALLING|UPDATING|RETRYING),/ { busy = 1 }
        ike && $2 ~ /^(CREATED|CONNECTING)/ { busy = 1 }
        ike && $2 ~ /^(ESTABLISHED|REKEYING|PASSIVE)/ { bare = 1 }
        END { print up ? "up" : !runs || busy ? "other" : bare ? "bare" : "none" }'
}

# starter_redial CONN: its IKE SAs end, and it is dialled. A child SA inside of an IKE SA
# that is there would be refused again: the peer holds that by what its conn was then.
# Nobody waits for how it ends.
starter_redial() {
    for sa in $(starter_sas "$1"); do timeout 5 ipsec down "$sa" >/dev/null 2>&1 || :; done
    timeout 5 ipsec stroke up-nb "$1" >/dev/null 2>&1 || :
}

# starter_dial CONN: it is dialled, unless it is up or charon is at it
starter_dial() { case $(starter_state "$1") in bare | none) starter_redial "$1" ;; esac; }
