# shellcheck shell=sh
# The part that every apply script has: it runs the steps that are generated below
# it, and puts back what they changed unless that is confirmed. The same script is
# the apply, the revert and the confirmation:
#
#   apply.sh run       make the changes; an error puts back what was there
#   apply.sh undo      put back, unless confirmed meanwhile (timer, boot; WHY: at once)
#   apply.sh confirm   keep them (WAIT: for the lock, in seconds)
#   apply.sh over      clear away what one that is over was cut in; who calls has the lock
#   apply.sh trial     in namespaces of its own: see what the changes would do
#
# It runs as root, as a systemd unit of its own, so it ends well though the
# connection that started it is cut. Needs: POSIX sh, coreutils, flock, systemd.

export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
umask 077
state=/var/lib/vpnpush
txn=$state/txn/$id
pending=$state/pending
task='' stage=start

# --- telling the client ------------------------------------------------

# at TASK: what follows belongs to it
at() { task=$1; printf 'task\t%s\t%s\n' "$stage" "$1" >>"$txn/events" || :; }
enter() { stage=$1; task=''; printf 'stage\t%s\n' "$1" >>"$txn/events" || :; }
# warn TEXT: the apply goes on; its user is told
warn() { printf 'warning\t%s\t%s\n' "$task" "$1" >>"$txn/events" || :; }
# refuse WORD MESSAGE: end before anything was touched. The script goes: there are keys in it.
refuse() { finish "$1" "$2"; rm -f -- "$txn/apply.sh"; unclaim; trap - EXIT; exit 1; }
# finish STATUS [MESSAGE]: the last word of this run, seen whole or not at all
finish() {
    { printf 'status\t%s\nstage\t%s\ntask\t%s\n' "$1" "$stage" "$task"; [ -z "${2-}" ] || printf 'message\t%s\n' "$2"; } >"$txn/result.tmp" &&
        mv -f "$txn/result.tmp" "$txn/result"
}

# --- what the plan saw ---------------------------------------------------

sha() { s=$(sha256sum <"$1") && printf '%s' "${s%% *}"; }
there() { [ -e "$1" ] || [ -L "$1" ]; }

# pre PATH SHA: the file is still what the plan saw; no SHA: it is not there
pre() {
    if there "$1"; then now=$(sha "$1"); else now=; fi
    [ "$now" = "${2-}" ] || refuse stale "$1 is not what it was when the plan was made"
}

# --- the dead man's switch ---------------------------------------------

# backup PATH: keep what is there, or that nothing is
backup() {
    d=${1%/*}
    sweep "$d"
    while [ -n "$d" ] && ! there "$d"; do printf '%s\n' "$d" >>"$txn/backup.dirs"; d=${d%/*}; done
    if there "$1"; then
        d=${1%/*}
        mkdir -p -- "$txn/backup$d"
        cp -a -- "$1" "$txn/backup$1"
        printf 'file\t%s\n' "$1"
    else
        printf 'absent\t%s\n' "$1"
    fi >>"$txn/backup.list"
}

# A disk that is full must not keep a revert from writing: it frees this first.
reserve() { head -c "$(($(du -sk -- "$txn" | cut -f 1) + 256))K" /dev/urandom >"$txn/reserve"; }

# arm NAME SECONDS: the host puts everything back by itself then
arm() {
    # one that is killed in the middle of a revert begins again
    systemd-run --quiet --collect --unit="vpnpush-$1-$id" --on-active="$2" --timer-property=AccuracySec=1s -p Restart=on-abnormal \
        /bin/sh "$txn/apply.sh" undo
    systemctl --quiet is-active "vpnpush-$1-$id.timer"
}
disarm() { systemctl --quiet stop "vpnpush-$1-$id.timer" 2>/dev/null || :; }

# A reboot in between loses the timer, so a unit at boot reverts too. The script of an apply
# is there until all is done that it has to do.
boot_guard=/etc/systemd/system/vpnpush-revert.service
install_boot_guard() {
    put "$state/revert.sh" 0700 root:root <<'EOF'
#!/bin/sh
# vpnpush: at boot, put back what an apply changed that was never confirmed, and clear
# away what others were cut in.
rc=0
for x in /var/lib/vpnpush/txn/*/apply.sh; do
    [ ! -e "$x" ] || (exec /bin/sh "$x" undo) || rc=1
done
exit "$rc"
EOF
    want='# vpnpush: puts back at boot what an apply changed that was never confirmed.
[Unit]
Description=Revert an unconfirmed vpnpush apply
DefaultDependencies=no
ConditionPathExistsGlob=/var/lib/vpnpush/txn/*/apply.sh
After=local-fs.target
Before=network-pre.target sysinit.target systemd-sysctl.service'"${units:+ $units}"'
[Service]
Type=oneshot
ExecStart=/bin/sh /var/lib/vpnpush/revert.sh
[Install]
WantedBy=sysinit.target'
    if [ ! -e "$boot_guard" ] || [ "$(cat "$boot_guard")" != "$want" ]; then
        printf '%s\n' "$want" | put "$boot_guard" 0644 root:root
        systemctl daemon-reload
    fi
    systemctl --quiet is-enabled vpnpush-revert.service || systemctl --quiet enable vpnpush-revert.service
    systemctl --quiet is-enabled vpnpush-revert.service
}

boot_id() { cat /proc/sys/kernel/random/boot_id; }
same_boot() { [ "$(cat "$txn/boot")" = "$(boot_id)" ]; }
# disabled UNIT, enabled UNIT: it is so again; at a boot, what the boot is about
# to start follows
disabled() { systemctl --quiet disable "$1"; same_boot || systemctl --no-block stop "$1"; }
enabled() { systemctl --quiet enable "$1"; same_boot || systemctl --no-block start "$1"; }

# put_back: files as they were; then, in the same boot, what runs. It must not
# be called where its status is tested (if, ||): that would turn off the set -e of
# each step of undo_live, and hide what fails in it.
put_back() {
    rc=0
    rm -f -- "$txn/reserve"
    : >"$txn/reverting" # what is half-way back is not to be confirmed
    sweep "$state"
    while IFS='	' read -r _ path; do sweep "${path%/*}"; done <"$txn/backup.list"
    while IFS='	' read -r kind path; do
        case $kind in
        absent) rm -f -- "$path" || rc=1 ;;
        file)
            d=${path%/*}
            [ -d "$d" ] || (umask 022 && mkdir -p -- "$d") || rc=1
            if ! { t=$(mktemp -- "$d/.vpnpush.XXXXXX") && rm -f -- "$t" && cp -a -- "$txn/backup$path" "$t" && sync -- "$d" && mv -fT -- "$t" "$path"; }; then
                rc=1
                rm -f -- "$t"
            fi
            ;;
        esac
    done <"$txn/backup.list"
    # folders that were not there; one that others use by now stays
    if [ -e "$txn/backup.dirs" ]; then while read -r path; do rmdir -- "$path" 2>/dev/null; done <"$txn/backup.dirs"; fi
    # read back
    while IFS='	' read -r kind path; do
        case $kind in
        absent) if there "$path"; then rc=1; fi ;;
        file) cmp -s -- "$txn/backup$path" "$path" || [ -L "$path" ] || rc=1 ;;
        esac
    done <"$txn/backup.list"
    sync
    undo_files
    if same_boot; then undo_live; fi
    return "$rc"
}

lock() { # lock [WAIT-SECONDS]
    mkdir -p /run/vpnpush
    exec 9>/run/vpnpush/lock
    if [ $# -gt 0 ]; then flock -w "$1" 9; else flock -n 9; fi
}

mine() { [ "$(cat "$pending" 2>/dev/null)" = "$id" ]; }
# going_down: systemd stops everything, or has done so and answers no more: then what is left
# of us runs on for a moment
going_down() {
    case $(systemctl is-system-running 2>/dev/null) in
    initializing | starting | running | degraded | maintenance) return 1 ;;
    esac
}

# record OUTCOME WHAT: a line of the history. One that a full disk has cut is ended
# first, so that it does not take this one with it.
record() {
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ) || return 1
    if [ -s "$state/history" ] && [ -n "$(tail -c 1 -- "$state/history")" ]; then echo >>"$state/history"; fi
    printf '%s\t%s\t%s\t%s\t%s\n' "$now" "$id" "$1" "$by" "$2" >>"$state/history"
}

# revert WHY: like put_back, not to be called where its status is tested
revert() {
    set +e
    # who ends this unit now would end a service half-way
    trap '' TERM
    put_back
    r=$?
    # no service starts while the host goes down: the boot puts the rest back
    if [ "$r" -ne 0 ] && going_down; then sync; exit 1; fi
    if [ "$r" -eq 0 ]; then
        printf 'reverted\t%s\n' "$1" >"$txn/outcome"
        # one that stays keeps every later apply out
        rm -f -- "$pending" || r=1
    fi
    if [ "$r" -eq 0 ]; then
        record reverted "$1"
    else
        printf 'revert-failed\t%s\n' "$1" >"$txn/outcome"
        printf '%s\n' "$id" >"$state/revert-failed"
        rm -f -- "$pending"
        record revert-failed "$1"
    fi
    sync
    scraps
    disarm guard; disarm confirm
    unclaim
    return "$r"
}

# unclaim: nobody asks any more whether this apply has begun
unclaim() { rmdir -- "/run/vpnpush/start-$id" 2>/dev/null || :; }

# scraps: what an apply that is over needs no more, there are keys in it. The script goes
# last: where this is cut, it is begun again.
scraps() { rm -rf -- "$txn/reserve" "$txn/debs" "$txn/block" "$txn"/edit* "$txn"/renewed* && rm -f -- "$txn/apply.sh"; }

# tidy: what a run leaves that ended before it was armed
tidy() {
    rm -rf -- "$txn/backup"
    sweep "$state"; sweep "${boot_guard%/*}"
    scraps
    unclaim
}

on_exit() {
    code=$1
    trap - EXIT
    set +e
    [ "$code" -ne 0 ] || return 0
    # what the log would tell, had it had the room
    why="exit status $code$(df -Pk -- "$txn" /etc | awk 'NR > 1 && $4 < 64 { print "; the disk of " $6 " is full"; exit }')"
    case $stage in
    start | check | packages | try | arm)
        if mine; then rm -f -- "$pending"; fi
        disarm guard
        tidy
        finish failed "$why"
        ;;
    *)
        at_fail=$task stage_fail=$stage
        revert "failed at $stage_fail${at_fail:+, $at_fail}"
        r=$? task=$at_fail stage=$stage_fail word=reverted
        [ "$r" -eq 0 ] || word=revert-failed
        finish "$word" "$why"
        ;;
    esac
}

main_run() {
    set -eu
    trap 'on_exit $?' EXIT
    trap 'exit 143' TERM
    : >"$txn/events"
    lock || refuse locked "$(cat /run/vpnpush/holder 2>/dev/null || :)"
    [ ! -e "$pending" ] || refuse locked "$(cat /run/vpnpush/holder 2>/dev/null || printf 'apply %s' "$(cat "$pending")") waits to be confirmed or put back"
    printf '%s, apply %s\n' "$by" "$id" >/run/vpnpush/holder
    others
    enter check
    preconditions
    enter packages
    want_packages
    enter try
    try
    enter arm
    boot_id >"$txn/boot"
    : >"$txn/backup.list"
    backup_all
    reserve
    install_boot_guard
    sync # the boot guard, too: a file that is synced later takes no other with it
    sh -n "$txn/apply.sh"
    # the timer first: a run that is killed here leaves nothing that waits for ever
    arm guard "$((confirm_timeout + 240))"
    printf '%s\n' "$id" | put "$pending" 0600 root:root
    : >"$txn/armed"
    enter write
    write
    enter live
    live
    enter reload
    services
    after
    enter verify
    verify
    sync # what was deleted, too, before anybody is told that it is
    enter confirm
    # from here on the client has confirm_timeout seconds
    arm confirm "$confirm_timeout"
    disarm guard
    finish applied
    trap - EXIT
}

# others: what applies before were cut in is cleared away. One that has not begun may yet do
# so; one of an earlier version, which does not know how, only loses its script.
others() {
    for x in "$state"/txn/*; do
        if [ "$x" != "$txn" ] && [ -e "$x/events" ] && [ -e "$x/apply.sh" ]; then
            sh "$x/apply.sh" over || [ $? -ne 64 ] || rm -f -- "$x/apply.sh"
        fi
    done
}

# kept: what is left to do of an apply that was confirmed. The timers are up for as long
# as it takes, and the boot: what this is cut in, they do again.
kept() {
    sync -- "$txn"
    grep -qsF -e "	$id	$did	" -- "$state/history" || { record "$did" "$summary" && sync -- "$state/history"; } || return 1
    rm -rf -- "$state/revert-failed"
    folders
    if [ "$leave" = 1 ]; then leave_host; else prune 1 4; prune 0 5; fi
    scraps || return 1
    disarm confirm; disarm guard
    unclaim
}

# over: what is left to do of an apply that does not wait any more
over() {
    if [ -e "$txn/confirmed" ]; then kept
    elif [ -e "$txn/armed" ]; then scraps # it was put back
    else tidy; disarm guard; fi
}

main_undo() {
    # a run that hangs has had its time: it puts back when it is told to end
    if [ -z "${1-}" ] && ! lock 5; then systemctl stop "vpnpush-apply-$id.service" || :; fi
    lock 300 || exit 1
    # confirmed meanwhile, or another's: not ours to touch
    if ! mine; then over; exit; fi
    stage=revert
    if [ -n "${1-}" ]; then why=$1
    elif same_boot; then why="not confirmed within $confirm_timeout s"; else why="the host was rebooted before it was confirmed"; fi
    revert "$why"
}

main_confirm() {
    lock "${1:-20}" || { echo locked; exit 1; }
    if [ ! -e "$txn/confirmed" ]; then
        if ! mine || [ -e "$txn/reverting" ]; then
            cat "$txn/outcome" 2>/dev/null || echo unknown
            exit 1
        fi
        # the one step that counts: where it fails, the timer puts back
        mv -fT -- "$pending" "$txn/confirmed" || exit 1
    fi
    kept || :
    echo confirmed
}

# prune CONFIRMED N: of the other applies that were confirmed (1), or were not
# (0), the last N are kept; this one always is, though the client's clock has
# gone back
prune() {
    for x in "$state"/txn/*; do
        was=0
        if [ -e "$x/confirmed" ]; then was=1; fi
        if [ "$was" = "$1" ] && [ "$x" != "$txn" ]; then echo "${x##*/}"; fi
    done | sort -r | tail -n "+$(($2 + 1))" | while read -r x; do rm -rf -- "$state/txn/${x:?}"; done
}

# leave_host: nothing of vpnpush is left, its backups and history neither; the keys go
# first
leave_host() {
    rm -rf -- "$state"/txn/*/backup
    systemctl --quiet disable vpnpush-revert.service 2>/dev/null || :
    rm -f -- "$boot_guard"
    systemctl daemon-reload
    rm -rf -- "$state" /run/vpnpush
}

main() {
    case ${1-} in
    run) main_run ;;
    undo) main_undo "${2-}" ;;
    confirm) main_confirm "${2-}" ;;
    over) over ;;
    trial) in_trial "$2" "$3" ;;
    *) echo "usage: apply.sh run|undo|confirm|over|trial" >&2; exit 64 ;;
    esac
}
