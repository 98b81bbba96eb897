# shellcheck shell=sh
# The part of an apply script that runs services.

is_active() { systemctl --quiet is-active "$1" || { echo "$1 is $(systemctl is-active "$1" || :), not active"; unit_log "$1"; return 1; }; }
unit_log() { journalctl --no-pager -o cat -n 15 -u "$1" 2>/dev/null || :; }
# note_loaded UNIT FILE...: what UNIT has read
note_loaded() {
    u=$1; shift
    [ $# -gt 0 ] || return 0
    sha256sum -- "$@" | put "/run/vpnpush/loaded/$u" 0600 root:root
}
start_unit() { u=$1; systemctl start "$u" || { unit_log "$u"; return 1; }; note_loaded "$@"; }
restart_unit() { u=$1; systemctl restart "$u" || { unit_log "$u"; return 1; }; note_loaded "$@"; }
