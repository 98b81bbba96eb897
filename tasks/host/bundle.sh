# shellcheck shell=sh
# The part that every bundle has. It does what the client of an apply does over a
# connection: it starts the apply script as a unit of its own, waits for the tunnel, and
# keeps what was made, or has it put back.

export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
state=/var/lib/vpnpush

say() { printf '%s\n' "$*"; }
# stop CODE WHAT MEND: it ends here
stop() {
    printf 'vpnpush: %s\n' "$2" >&2
    [ -z "${3-}" ] || printf 'vpnpush: hint: %s\n' "$3" >&2
    exit "$1"
}
stamp() { date -u -d "@$1" '+%Y-%m-%d %H:%M UTC'; }
# seconds, by a clock that nobody sets
uptime() { cut -d . -f 1 /proc/uptime; }
there() { [ -e "$1" ] || [ -L "$1" ]; }

# fits: this is a box that the script can be for
fits() {
    [ "$(id -u)" = 0 ] || stop 1 "this is to be run as root; nothing was changed" "sudo sh $0"
    [ -d /run/systemd/system ] || stop 1 "systemd does not run on this box; nothing was changed" "boot it with systemd"
    release=$(sed -n 's/^VERSION_ID="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/os-release)
    grep -qx 'ID="\{0,1\}debian"\{0,1\}' /etc/os-release || stop 1 "this box does not run Debian; nothing was changed" "use one with Debian 11, 12 or 13"
    case $release in [1-9] | 10) stop 1 "this box runs Debian $release; nothing was changed" "upgrade it to Debian 12 or later" ;; esac
    [ -z "$keys" ] || getent passwd "$login" >/dev/null ||
        stop 1 "this box has no user $login, who is to be let in; nothing was changed" "adduser $login, or another ssh.user in the inventory and a new script"
    if [ -e "$state/pending" ]; then
        stop 7 "an apply waits here to be confirmed or put back: $(cat "$state/pending"); nothing was changed" "give it five minutes, and run this again"
    fi
}

# timely: the script may run now
timely() {
    now=$(date +%s)
    [ "$now" -ge "$((made - 3600))" ] ||
        stop 1 "the clock of this box says $(stamp "$now"), and this script was made $(stamp "$made"); nothing was changed" "set the clock (timedatectl set-ntp true, or date -s), and run this again"
    [ "$now" -le "$expires" ] ||
        stop 1 "this script ran out on $(stamp "$expires"), and the clock of this box says $(stamp "$now"); nothing was changed" "where the clock is right, have a new one made: vpnpush bundle $site"
}

# pick: prints which daemon is to run strongSwan: the one that does, or is to, or is
# installed, else that of the release
pick() {
    for d in $daemons; do about "$d"; if systemctl --quiet is-active "$unit"; then echo "$d"; return; fi; done
    for d in $daemons; do about "$d"; if systemctl --quiet is-enabled "$unit" 2>/dev/null; then echo "$d"; return; fi; done
    for d in $daemons; do
        about "$d"
        if dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then echo "$d"; return; fi
    done
    by_release "$release"
}

# of_run: a script of this run
of_run() { sed "s/$made_id/$id/g"; }

# told: tells on 3 what comes from the apply as it goes on, and prints the end of it
told() {
    while IFS='	' read -r kind what stage _; do
        if [ "$kind" != event ]; then
            printf '%s\t%s\n' "$kind" "$what"
            cat
            return
        fi
        [ "$what" = stage ] || continue
        case $stage in
        packages) say "installing packages" ;;
        try) say "trying the files on a strongSwan of their own" ;;
        arm) say "arming the switch that puts everything back" ;;
        write) say "making the changes" ;;
        confirm) say "waiting for the tunnel to $hub" ;;
        esac >&3
    done
}
# field NAME: of the end of an apply
field() { printf '%s\n' "$end" | sed -n "/^log\$/q; s/^$1	//p"; }

# run: makes the changes, which wait to be confirmed then
run() {
    id=$(date -u +%Y%m%dT%H%M%S)-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
    txn=$state/txn/$id
    trap 'stop 8 "interrupted; what was begun is put back within some minutes" "run this again then"' INT TERM
    end=$("apply_$daemon" | of_run | sh -c "$(launch | of_run)" | told)
    log=$(printf '%s\n' "$end" | sed '1,/^log$/d')
    at=$(field task) message=$(field message)
    [ -n "$at" ] || at=$(field stage)
    [ -z "$log" ] || log="
$log"
    case $(field status) in
    applied) return ;;
    stale | locked) # nothing is left of it
        rm -rf -- "$txn"
        rmdir -- "/run/vpnpush/start-$id" "$state/txn" "$state" 2>/dev/null
        ;;
    esac
    case $(field status) in
    stale) stop 1 "this box is not as this script takes it to be: $message; nothing was changed" "take away there what is of no use, and run this again; else set this box up over a line that it opens: vpnpush invite $site" ;;
    locked) stop 7 "another run is at work here: $message; nothing was changed" "wait for it to end, and run this again" ;;
    failed)
        case $(field stage) in
        packages) stop 4 "$at: $message; nothing else was changed, but packages may have come$log" "apt-get update tells whether this box reaches its mirror; then run this again" ;;
        *) stop 4 "$at: $message; nothing was changed$log" "mend what is told, and run this again" ;;
        esac
        ;;
    reverted) stop 5 "$at: $message; this box stands as before$log" "mend what is told, and run this again" ;;
    revert-failed) stop 4 "$at: $message; and putting back what was there failed too$log" "the backup is in $txn/backup" ;;
    '') stop 4 "it could not be started; nothing was changed" "look at the disk (df) and at systemctl status" ;;
    *) stop 8 "it ended without a result$log" "what was begun is put back within some minutes; run this again then" ;;
    esac
}

# missing: prints why the tunnel is not the one that is wanted; nothing where it is
missing() {
    how=$("${daemon}_state" "$conn")
    if [ "$how" != up ]; then
        case $how in bare) echo "an IKE SA without a child SA" ;; none) echo "no IKE SA" ;; *) echo "it is being dialled" ;; esac
        return
    fi
    has=$("${daemon}_carries" "$conn")
    [ "$has" = "$wanted" ] || printf 'it carries %s, and not %s\n' "$(flat "$has")" "$(flat "$wanted")"
}
flat() { printf '%s\n' "$1" | paste -sd , - | sed 's/,/, /g'; }

# keep: what was made stays if the tunnel comes up
keep() {
    until=$(($(uptime) + patience))
    while why=$(missing) && [ -n "$why" ]; do
        [ "$(uptime)" -lt "$until" ] || give_up
        sleep 1
    done
    word=$(sh "$txn/apply.sh" confirm)
    [ "$word" = confirmed ] || stop 8 "it was not kept: $word" "this box puts back what was there by itself; run this again in five minutes"
    trap - INT TERM
}

# give_up: without the tunnel nobody reaches this box, so nothing is kept
give_up() {
    said=$(charon_log | awk "$(reasons)")
    mend="see that nothing keeps UDP 500 and 4500 from leaving here"
    if [ -n "$said" ]; then
        mend=${said##*	} raw=${said#*	}
        why="${said%%	*} (charon: ${raw%%	*})"
    fi
    mend="$mend; $hub must have been applied to since $site is in the inventory (vpnpush apply --limit $hub); then run this again"
    say "putting back what was there"
    sh "$txn/apply.sh" undo "the tunnel did not come up: $why" >/dev/null 2>&1
    case $(cat "$txn/outcome" 2>/dev/null) in
    reverted*) stop 5 "the tunnel to $hub did not come up: $why; this box stands as before, but for packages" "$mend" ;;
    revert-failed*) stop 4 "the tunnel to $hub did not come up: $why; and putting back what was there failed" "the backup is in $txn/backup" ;;
    *) stop 8 "the tunnel to $hub did not come up: $why" "what was made is put back within $guard s; $mend" ;;
    esac
}

# let_in: the keys of who looks after this box from outside may log in
let_in() {
    # as that user: nobody else's file is touched, wherever links lead
    # shellcheck disable=SC2016 # it is run by another shell
    printf '%s\n' "$keys" | runuser -u "$login" -- sh -euc '
        umask 077
        dir=$1/.ssh
        [ -d "$dir" ] || mkdir -- "$dir"
        file=$dir/authorized_keys
        while IFS= read -r key; do
            if [ -e "$file" ] && grep -qxF -e "$key" -- "$file"; then continue; fi
            if [ -s "$file" ] && [ -n "$(tail -c 1 -- "$file")" ]; then echo >>"$file"; fi
            printf "%s\n" "$key" >>"$file"
        done' sh "$(getent passwd "$login" | cut -d : -f 6)"
}

# report: what its operator needs to know
report() {
    if [ -n "$keys" ]; then
        if let_in; then say "the key that it was made with lets $login in"; else say "WARNING: the key could not be put into the authorized_keys of $login"; fi
    fi
    if ! systemctl --quiet is-active ssh.service ssh.socket; then
        say "WARNING: no sshd runs here, by which it would be reached: apt-get install openssh-server"
    fi
    say ""
    say "For known_hosts of who looks after it from outside, who can compare the fingerprints:"
    for f in /etc/ssh/ssh_host_*_key.pub; do
        [ -e "$f" ] || continue
        read -r type blob _ <"$f"
        say "$known_as $type $blob"
    done
    for f in /etc/ssh/ssh_host_*_key.pub; do
        if [ -e "$f" ]; then ssh-keygen -lf "$f" 2>/dev/null | awk '{ print "# " $2 " " $NF }'; fi
    done
    say ""
    say "Next: there, vpnpush plan $site, which finds nothing to change"
    say "Then delete this script, which holds the key of the tunnel$(if [ -f "$0" ]; then echo ": rm $0"; fi)"
}

main() {
    [ $# -eq 0 ] || { echo "usage: sh $0" >&2; exit 64; }
    # who runs it may be cut off by the very tunnel that comes up
    trap '' HUP PIPE
    exec 3>&1
    fits
    timely
    daemon=$(pick)
    about "$daemon"
    if there "$state/manifest.json"; then
        case $(sha256sum <"$state/manifest.json") in
        "$manifest "*) say "this box is set up already, by this script: nothing was changed" ;;
        *) stop 1 "vpnpush has set up this box already; nothing was changed" "from outside: vpnpush plan $site" ;;
        esac
        why=$(missing)
        if [ -n "$why" ]; then say "WARNING: its tunnel to $hub is not up: $why"; else say "its tunnel to $hub is up: $(flat "$wanted")"; fi
        report
        exit
    fi
    say "setting up the box of $site"
    run
    keep
    say "done: the box of $site is set up, and its tunnel to $hub is up: $(flat "$wanted")"
    report
}
