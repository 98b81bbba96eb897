# shellcheck shell=sh
# What dials a tunnel of swanctl's anew: for an apply script, and for the service that
# watches a site's tunnel.

# swanctl_sas CONN...: their IKE SAs, as NAME[ID], one a line
swanctl_sas() {
    [ $# -gt 0 ] || return 0
    # of a hub they are more than one argument takes
    { printf '%s\n' "$@"; echo; swanctl --list-sas --raw 2>/dev/null; } | awk '
        !told && $0 == "" { told = 1; next }
        !told { ours[$0]; next }
        sub(/^list-sa event \{/, "") { conn = $1; sub(/^[^ ]* \{uniqueid=/, ""); sub(/ .*/, ""); if (conn in ours) print conn "[" $0 "]" }'
}

# swanctl_state CONN: prints how it stands: "up"; "bare", an IKE SA without a child SA,
# which charon leaves at that; "none"; or "other", charon is at it, or does not run
swanctl_state() {
    timeout 5 swanctl --list-sas --raw --ike "$1" 2>/dev/null | awk '
        /^list-sas reply \{\}/ { runs = 1 }
        sub(/^list-sa event \{/, "") {
            ike = child = $0
            sub(/ child-sas \{.*/, "", ike)
            if (!sub(/.* child-sas \{/, "", child)) child = ""
            while (match(child, / state=[A-Z]+/)) {
                s = substr(child, RSTART + 7, RLENGTH - 7); child = substr(child, RSTART + RLENGTH)
                if (s == "INSTALLED" || s == "REKEYING") up = 1
                if (s ~ /^(CREATED|ROUTED|INSTALLING|UPDATING|RETRYING)$/) busy = 1
            }
            match(ike, / state=[A-Z]+/)
            s = substr(ike, RSTART + 7, RLENGTH - 7)
            if (s == "CREATED" || s == "CONNECTING") busy = 1
            if (s == "ESTABLISHED" || s == "REKEYING" || s == "PASSIVE") bare = 1
        }
        END { print up ? "up" : !runs || busy ? "other" : bare ? "bare" : "none" }'
}

# swanctl_end SAS
swanctl_end() {
    for sa in $1; do
        sa=${sa##*\[}
        timeout 15 swanctl --terminate --ike-id "${sa%]}" --timeout 10 >/dev/null 2>&1 || :
    done
}

# swanctl_redial CONN: its IKE SAs end, and it is dialled. A child SA inside of an IKE SA
# that is there would be refused again: the peer holds that by what its conn was then.
# Nobody waits for how it ends.
swanctl_redial() {
    swanctl_end "$(swanctl_sas "$1")"
    timeout 5 swanctl --initiate --child "$1" --timeout -1 >/dev/null 2>&1 || :
}

# swanctl_dial CONN: it is dialled, unless it is up or charon is at it
swanctl_dial() { case $(swanctl_state "$1") in bare | none) swanctl_redial "$1" ;; esac; }
