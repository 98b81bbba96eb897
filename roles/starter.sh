# shellcheck shell=sh
# The part of an apply script that speaks to strongSwan's starter (ipsec.conf).

# Exit codes of reloads lie, so nothing here trusts one: the state is read back.

# starter_start UNIT: `ipsec restart` by hand leaves a starter that systemd does not
# know of, and beside which its own does not start
starter_start() {
    if ipsec status >/dev/null 2>&1; then ipsec stop || :; fi
    start_unit "$@"
}

# starter_answers: charon does. `ipsec status` says yes for a starter alone, too, whose
# charon has not written its pid yet
starter_answers() { ipsec status 2>/dev/null | grep -q '^Security Associations'; }

# starter_settings UNIT [NOTE FILE]: charon reads strongswan.conf again, which drops no
# tunnel; FILE is noted. One that does not answer reads it when it starts, and must not
# be signalled: before it takes signals, this one ends it.
starter_settings() {
    if systemctl --quiet is-active "$1"; then
        n=0; until starter_answers || [ "$n" -ge 50 ]; do n=$((n + 1)); sleep 0.2; done
        if starter_answers; then kill -HUP "$(cat "$(ipsec --piddir)/charon.pid")"; fi
    fi
    [ $# -eq 1 ] || sha256sum -- "$3" | put "$2" 0600 root:root
}

# starter_own: a charon of its own, in namespaces, has loaded the files, or has ended
starter_own() {
    # the last to be loaded; nobody can call it
    printf '\nconn vpnpush-trial\n    left=127.0.0.1\n    right=127.0.0.2\n    auto=add\n' >>/etc/ipsec.conf
    ip link set lo up 2>/dev/null || :
    ipsec start --nofork >/run/trial/starter 2>&1 &
    n=0
    until ipsec statusall 2>/dev/null | grep -q '^ *vpnpush-trial:' || ! kill -0 $! 2>/dev/null; do
        n=$((n + 1)); sleep 0.1
        [ "$n" -lt 300 ] || { echo "strongSwan did not come to the end of its files" >&2; exit 1; }
    done
}

# starter_try: a charon of its own loads the files, in a trial (trial.sh). Neither it nor
# starter ends because of what it cannot read: what they say of it is put down, with the
# place, as far as it can be found.
starter_try() {
    command -v ipsec >/dev/null || { echo "ipsec is not installed" >&2; exit 1; }
    log=/run/charon.log # AppArmor lets charon write there
    mkdir -p /etc/strongswan.d
    printf 'charon {\n  filelog {\n    vpnpush {\n      path = %s\n      default = 1\n      flush_line = yes\n    }\n  }\n}\n' "$log" >/etc/strongswan.d/zz-vpnpush-trial.conf
    starter_own
    ipsec statusall 2>/dev/null | awk '
        /^(Routed|Shunted|Security)/ { on = 0 }
        on && match($0, /^ *[^ :]+: +/) {
            name = $1; sub(/:$/, "", name)
            rest = substr($0, RLENGTH + 1)
            if (rest ~ /^(local|remote): +\[/) { what = $2; sub(/:$/, "", what); sub(/^[^[]*\[/, "", rest); sub(/\].*/, "", rest); print what " of " name " is " rest }
            else if (sub(/^child: +/, "", rest)) { sub(/ (TUNNEL|TRANSPORT|BEET|PASS|DROP).*/, "", rest); split(rest, side, " === "); print name " joins " side[1] " === " side[2] }
            else if (!(name in seen)) { seen[name] = 1; print "conn " name }
        }
        /^Connections:/ { on = 1 }' >/run/trial/listed
    ipsec listalgs 2>/dev/null | grep -o '[A-Z][A-Z0-9_]*\[' | sed 's/^/algorithm /; s/\[$//' >>/run/trial/listed || :
    sed 's/^[0-9]*\[[A-Z]*\] *//' "$log" 2>/dev/null >/run/trial/charon || :
    sed -n "s/^loading secrets from '\(.*\)'\$/keys of \1/p" /run/trial/charon >>/run/trial/listed
    # of starter: "FILE:LINE: WORDS", or "# WORDS"
    sed -n 's/^\(\/[^:]*\):\([0-9]*\): \(.*\)/\1\t\2\t\3/p; /^# deprecated /d; s/^# /\t\t/p' /run/trial/starter >/run/trial/raw
    awk '
        sub(/^loading secrets from /, "") { gsub(/\047/, ""); keys = $0 }
        /^line [0-9]+: / { l = $2; sub(/:.*/, "", l); sub(/^line [0-9]+: /, ""); print keys "\t" l "\t" $0 }
        /^skipped invalid proposal string: |: failed to load|^loading .* from .* failed/ { print "\t\t" $0 }' /run/trial/charon >>/run/trial/raw
    while IFS= read -r l; do starter_place "$l"; done </run/trial/raw >/run/trial/said
}

# starter_place SAID: with the place in ipsec.conf, or in what it includes, where it has
# none. Neither tells it: what they complain of is looked for.
starter_place() {
    case $1 in "		"*) ;; *) printf '%s\n' "$1"; return ;; esac
    l=${1#		}
    case $l in
    "unknown keyword '"*) p=${l#*\'} p="^[[:space:]]*${p%%\'*}[[:space:]]*=" ;;
    "bad "*": "*=*) p=${l#*: } p=${p%% *} p="^[[:space:]]*${p%%=*}[[:space:]]*=[[:space:]]*${p#*=}" ;;
    "skipped invalid proposal string: "*) p="^[[:space:]]*\(ike\|esp\|ah\)[[:space:]]*=.*${l##*: }" ;;
    *) p= ;;
    esac
    at=; [ -z "$p" ] || at=$(grep -rnI --exclude='*.secrets' -e "$p" /etc/ipsec.conf /etc/ipsec.d 2>/dev/null | head -n 1 | cut -d : -f 1,2) || :
    f=${at%:*}
    printf '%s\t%s\t%s\n' "$f" "${at##*:}" "$l"
}

# starter_has_child CONN: a child SA of it is INSTALLED
starter_has_child() {
    ipsec status 2>/dev/null | awk -v name="$1" '{ n = $1; sub(/\{[0-9]+\}:$/, "", n) } n == name && $2 ~ /^INSTALLED/ { ok = 1 } END { exit !ok }'
}

# starter_settled: what starter was told by `ipsec update`, which only signals it, it has
# told charon: it waits for the next signal, in pselect, and not for charon's answer. Where
# the kernel does not tell what it waits for, it gets a second.
starter_settled() {
    p=$(cat "$(ipsec --piddir)/starter.charon.pid" 2>/dev/null) || p=none
    n=0 blind=0
    while [ "$n" -lt 600 ]; do
        s='' w=''
        read -r _ _ s _ 2>/dev/null <"/proc/$p/stat" || :
        read -r w 2>/dev/null <"/proc/$p/wchan" || : # it ends without a newline
        case $s$w in
        S*poll_schedule* | S*select*) return 0 ;;
        '' | S | S0) blind=$((blind + 1)); [ "$blind" -lt 20 ] || return 0 ;;
        esac
        n=$((n + 1)); sleep 0.05
    done
}

# starter_load UNIT FILE...: charon runs with what the files say
starter_load() {
    u=$1
    # strongSwan's own start by its package can come before its plugins are
    # unpacked. Any other package is no reason to drop the tunnels.
    case ${installed-} in *strongswan*) fresh=1 ;; *) fresh=0 ;; esac
    if [ "$fresh" = 0 ] && systemctl --quiet is-active "$u" && ipsec status >/dev/null 2>&1; then
        # starter answers before its charon does
        n=0; until ipsec rereadsecrets && ipsec update; do n=$((n + 1)); [ "$n" -lt 50 ] || { unit_log "$u"; return 1; }; sleep 0.2; done
        starter_settled
    else
        systemctl restart "$u" || { unit_log "$u"; return 1; }
        n=0; until starter_answers; do n=$((n + 1)); [ "$n" -lt 100 ] || { echo "strongSwan does not answer"; unit_log "$u"; return 1; }; sleep 0.1; done
    fi
    note_loaded "$@"
}

# starter_reread UNIT FILE...: charon has the keys that the files have, and no others
starter_reread() {
    # one that does not run reads them when it starts
    if ! ipsec status >/dev/null 2>&1; then return 0; fi
    n=0; until ipsec rereadsecrets; do n=$((n + 1)); [ "$n" -lt 50 ] || { unit_log "$1"; return 1; }; sleep 0.2; done
    case $* in */etc/swanctl/*) if swanctl --stats >/dev/null 2>&1; then swanctl --load-creds --noprompt; fi ;; esac
}

# starter_loaded UNIT CONN...: charon knows each of them
starter_loaded() {
    u=$1; shift
    n=0
    while :; do
        missing=$(ipsec statusall 2>/dev/null | sed -n '/^Connections:/,/^[RS][a-z]* .*:/s/^ *\([^ :]*\):  .*/\1/p' | lacking "$@")
        [ -n "$missing" ] || return 0
        n=$((n + 1)); [ "$n" -lt 50 ] || break
        sleep 0.2
    done
    echo "strongSwan has not loaded $missing"
    unit_log "$u"
    return 1
}

# starter_reopen SAS: these IKE SAs were made with what their conns were before.
# The peer holds its end by its own old conn, and answers a new child SA inside
# of it with TS_UNACCEPTABLE; so the old one goes first, and a new one is made.
starter_reopen() {
    for sa in $1; do timeout 15 ipsec down "$sa" >/dev/null 2>&1 || :; done
    for sa in $1; do
        conn=${sa%%\[*}
        starter_has_child "$conn" || timeout 20 ipsec up "$conn" >/dev/null 2>&1 || :
        n=0
        until starter_has_child "$conn"; do
            n=$((n + 1)); [ "$n" -lt 50 ] || { echo "$conn: no child SA came up with what the conn is now"; ipsec status; return 1; }
            sleep 0.2
        done
    done
}

# starter_down CONN...: no SA of them is left
starter_down() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sas=$(starter_sas "$@")
        [ -n "$sas" ] || return 0
        for sa in $sas; do timeout 15 ipsec down "$sa" >/dev/null 2>&1 || :; done
    done
}

# starter_relieve OURS CONN...: no SA of CONN is left, of a conn by hand that OURS does the
# work of; OURS has 10 s to be up before. A hub, which waits for its sites, gives none.
starter_relieve() {
    ours=$1; shift
    if [ -n "$ours" ]; then
        n=0; until starter_has_child "$ours" || [ "$n" -ge 50 ]; do n=$((n + 1)); sleep 0.2; done
    fi
    starter_down "$@"
}
