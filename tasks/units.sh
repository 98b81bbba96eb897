# shellcheck shell=sh
# The part of an apply script that runs services.

is_active() { systemctl --quiet is-active "$1" || { echo "$1 is $(systemctl is-active "$1" || :), not active"; unit_log "$1"; return 1; }; }
unit_log() { journalctl --no-pager -o cat -n 15 -u "$1" 2>/dev/null || :; }
# lacking NAME...: prints those that are not among the lines on standard input. Of a hub
# they are more than the arguments of a program may be.
lacking() {
    { printf '%s\n' "$@"; echo; cat; } | awk '
        !told && $0 == "" { told = 1; next }
        !told { name[++n] = $0; next }
        { has[$0] = 1 }
        END { for (i = 1; i <= n; i++) if (!(name[i] in has)) { printf "%s%s", sep, name[i]; sep = " " } }'
}
# note_loaded UNIT FILE...: what UNIT has read
note_loaded() {
    u=$1; shift
    [ $# -gt 0 ] || return 0
    printf '%s\n' "$@" | xargs -d '\n' sha256sum -- | put "/run/vpnpush/loaded/$u" 0600 root:root
}
start_unit() { u=$1; systemctl start "$u" || { unit_log "$u"; return 1; }; note_loaded "$@"; }
restart_unit() { u=$1; systemctl restart "$u" || { unit_log "$u"; return 1; }; note_loaded "$@"; }
# run_helper UNIT WITH FILE...: UNIT runs as its files say, where WITH does
run_helper() {
    u=$1 with=$2; shift 2
    systemctl daemon-reload
    if systemctl --quiet is-active "$with"; then systemctl restart "$u" || { unit_log "$u"; return 1; }; fi
    note_loaded "$u" "$@"
}
# helper_runs UNIT WITH
helper_runs() { if systemctl --quiet is-active "$2"; then is_active "$1"; fi; }
