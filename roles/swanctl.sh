# shellcheck shell=sh
# The part of an apply script that speaks to charon by vici (swanctl).

# The exit code of swanctl says nothing of a file that it could not read: it takes out of
# charon all that it did not find. So the state is read back here, too; and only ever all
# files are loaded: --load-conns of one takes out the rest.

# swanctl_start UNIT
swanctl_start() { start_unit "$@"; }

swanctl_answers() { swanctl --stats >/dev/null 2>&1; }

# swanctl_says CMD...: runs swanctl; what it says without its words on plugins that are
# not installed
swanctl_says() {
    says_rc=0
    says=$(swanctl "$@" 2>&1) || says_rc=$?
    printf '%s\n' "$says" | grep -v "^plugin '.*': failed to load" || :
    return "$says_rc"
}

# swanctl_settings UNIT [NOTE FILE]: charon reads strongswan.conf again, which drops no
# tunnel; FILE is noted. One that does not run reads it when it starts.
swanctl_settings() {
    if systemctl --quiet is-active "$1"; then
        n=0; until swanctl_answers || [ "$n" -ge 50 ]; do n=$((n + 1)); sleep 0.2; done
        swanctl --reload-settings >/dev/null 2>&1 || { unit_log "$1"; return 1; }
    fi
    [ $# -eq 1 ] || sha256sum -- "$3" | put "$2" 0600 root:root
}

# swanctl_names: the conns that charon has
swanctl_names() { swanctl --list-conns --raw 2>/dev/null | sed -n 's/^list-conn event {\([^ ]*\) {.*/\1/p'; }

# swanctl_own: a charon of its own, in namespaces, has loaded the files; what swanctl says
# of them is in the file out, and its code in rc
swanctl_own() {
    ip link set lo up 2>/dev/null || :
    charon-systemd >/dev/null 2>&1 &
    n=0
    until swanctl_answers; do
        n=$((n + 1)); sleep 0.05
        if [ "$n" -ge 400 ] || ! kill -0 $! 2>/dev/null; then echo "charon-systemd does not start" >&2; exit 1; fi
    done
    rc=0
    swanctl_says --load-all --noprompt >/run/trial/out || rc=$?
}

# swanctl_try: a charon of its own loads the files, in a trial (trial.sh). What swanctl
# says of them is put down, with the place, as far as it can be found.
swanctl_try() {
    swanctl_own
    : >/run/trial/listed
    # with another code its service does not start (ExecStartPost of its unit)
    if [ "$rc" -eq 0 ]; then
        swanctl --list-conns 2>/dev/null | awk '
            /^[^ ]/ { conn = $1; sub(/:$/, "", conn); child = 0; print "conn " conn }
            /^  (local|remote) .*authentication:$/ { side = $1 }
            /^    id: / { print side " of " conn " is " $2 }
            /^  [^ ]+: (TUNNEL|TRANSPORT|BEET|PASS|DROP)/ { child = 1 }
            child && sub(/^    local: +/, "") { from = $0 }
            child && sub(/^    remote: +/, "") { print conn " joins " from " === " $0; child = 0 }' >>/run/trial/listed
        swanctl --list-algs 2>/dev/null | sed -n 's/^ *\([A-Z][A-Z0-9_]*\)\[.*/algorithm \1/p' >>/run/trial/listed
        # of a file those keys were loaded whose sections were
        awk '
            function ended() { if (n && !lacks) print "keys of " f; n = lacks = 0 }
            FILENAME == "/run/trial/out" { if (sub(/^loaded ike secret \047/, "")) { sub(/\047$/, ""); had[$0] = 1 } next }
            FNR == 1 { ended(); f = FILENAME }
            $2 == "{" && $1 ~ /^ike/ { n++; if (!($1 in had)) lacks = 1 }
            END { ended() }' /run/trial/out "$1"*.secrets.conf >>/run/trial/listed 2>/dev/null || :
    else
        printf '\t\tswanctl --load-all ends with %s: its service would not start\n' "$rc" >/run/trial/said
    fi
    sed -n "/^loading connection '/p; /^loading shared secret failed/p; /^missing secret in '/p; /^ignoring unsupported secret '/p; /^\/.*:[0-9]*: /p; /^syntax error/p; /^expanding file pattern/p" /run/trial/out |
        while IFS= read -r l; do swanctl_place "$l"; done >>/run/trial/said
}

# swanctl_place SAID: with the place in swanctl.conf, or in conf.d, where it has none
swanctl_place() {
    case $1 in
    /*) printf '%s\n' "$1" | sed 's/^\(\/[^:]*\):\([0-9]*\): /\1\t\2\t/'; return ;;
    "loading connection '"* | "missing secret in '"* | "ignoring unsupported secret '"*) p=${1#*\'} p="^[[:space:]]*${p%%\'*}[[:space:]]*{" ;;
    # the file that it stands in ends within a section
    "syntax error, unexpected end of file"*) p= ;;
    *) printf '\t\t%s\n' "$1"; return ;;
    esac
    if [ -n "$p" ]; then
        at=$(grep -nI -e "$p" /etc/swanctl/swanctl.conf /etc/swanctl/conf.d/*.conf /dev/null 2>/dev/null | head -n 1 | cut -d : -f 1,2) || :
        # the line of what is wrong in it, where that is named
        case $1 in *"unknown option: "* | *"invalid value for: "*)
            k=${1##*: } k=${k%%,*}
            l=$(awk -v from="${at##*:}" -v key="$k" 'NR > from && $1 == key { print NR; exit }' "${at%:*}" 2>/dev/null) || :
            [ -z "$l" ] || at=${at%:*}:$l ;;
        esac
    else
        at=$(awk 'FNR == 1 { if (open > 0 && !said) { said = 1; print last ":" n } open = 0 }
            { l = $0; gsub(/"([^"\\]|\\.)*"/, "", l); sub(/#.*/, "", l); open += gsub(/{/, "", l) - gsub(/}/, "", l); last = FILENAME; n = FNR }
            END { if (open > 0 && !said) print last ":" n }' /etc/swanctl/swanctl.conf /etc/swanctl/conf.d/*.conf 2>/dev/null) || :
    fi
    printf '%s\t%s\t%s\n' "${at%:*}" "${at##*:}" "$1"
}

# swanctl_has_child CONN: a child SA of it is INSTALLED
swanctl_has_child() { [ "$(swanctl_state "$1")" = up ]; }

# swanctl_load UNIT FILE...: charon runs with what the files say
swanctl_load() {
    u=$1
    # strongSwan's own start by its package can come before its plugins are unpacked. Any
    # other package is no reason to drop the tunnels.
    case ${installed-} in *strongswan* | *charon-systemd*) fresh=1 ;; *) fresh=0 ;; esac
    if [ "$fresh" = 0 ] && systemctl --quiet is-active "$u" && swanctl_answers; then
        n=0; until said=$(swanctl_says --load-all --noprompt); do n=$((n + 1)); [ "$n" -lt 5 ] || { printf '%s\n' "$said"; unit_log "$u"; return 1; }; sleep 0.2; done
    else
        systemctl restart "$u" || { unit_log "$u"; return 1; }
        n=0; until swanctl_answers; do n=$((n + 1)); [ "$n" -lt 100 ] || { echo "strongSwan does not answer"; unit_log "$u"; return 1; }; sleep 0.1; done
    fi
    note_loaded "$@"
}

# swanctl_reread UNIT FILE...: charon has the keys that the files have, and no others
swanctl_reread() {
    # one that does not run reads them when it starts
    if ! swanctl_answers; then return 0; fi
    swanctl_says --load-creds --noprompt >/dev/null || { unit_log "$1"; return 1; }
    # those of the other language are in the same charon, where its plugin is
    if [ -S /run/charon.ctl ]; then ipsec stroke rereadsecrets >/dev/null 2>&1 || :; fi
}

# swanctl_loaded UNIT CONN...: charon knows each of them
swanctl_loaded() {
    u=$1; shift
    n=0
    while :; do
        missing=$(swanctl_names | lacking "$@")
        [ -n "$missing" ] || return 0
        n=$((n + 1)); [ "$n" -lt 25 ] || break
        sleep 0.2
    done
    echo "strongSwan has not loaded $missing"
    unit_log "$u"
    return 1
}

# swanctl_reopen SAS: these IKE SAs were made with what their conns were before. charon
# ends them when it loads a conn that dials; what it left goes here, and that a child SA
# comes up with what the conn is now is seen to: 5.9 can lose one in a reload.
swanctl_reopen() {
    swanctl_end "$1"
    for sa in $1; do
        conn=${sa%%\[*}
        swanctl_has_child "$conn" || timeout 25 swanctl --initiate --child "$conn" --timeout 20 >/dev/null 2>&1 || :
        n=0
        until swanctl_has_child "$conn"; do
            n=$((n + 1)); [ "$n" -lt 50 ] || { echo "$conn: no child SA came up with what the conn is now"; swanctl --list-sas 2>/dev/null; return 1; }
            sleep 0.2
        done
    done
}

# swanctl_down CONN...: no SA of them is left
swanctl_down() {
    n=0
    while sas=$(swanctl_sas "$@"); [ -n "$sas" ] && [ "$n" -lt 5 ]; do swanctl_end "$sas"; n=$((n + 1)); done
}
