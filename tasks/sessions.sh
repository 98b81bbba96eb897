# shellcheck shell=sh
# The part of an apply script that ends L2TP sessions.

# renewed USER...: each has a new password from now on, and who is on since before is
# not to stay. pppd's scripts note by the same clock when a session began. A revert at
# boot puts this file back, too, so that it tells of which boot it is.
renewed() {
    read -r now _ </proc/uptime
    now="${now%.*}${now#*.} $(boot_id)"
    if [ -e /run/vpnpush/renewed ]; then cat -- /run/vpnpush/renewed; fi >"$txn/renewed"
    for user in "$@"; do
        awk -F '\t' -v user="$user" '$1 != user' "$txn/renewed" >"$txn/renewed2"
        printf '%s\t%s\n' "$user" "$now" >>"$txn/renewed2"
        mv -f -- "$txn/renewed2" "$txn/renewed"
    done
    put /run/vpnpush/renewed 0600 root:root <"$txn/renewed"
    rm -f -- "$txn/renewed"
}

# end_sessions USER...: no session of these is left. One that has just been let in by
# the old secrets is noted once it has its address, so that they are looked for twice.
end_sessions() {
    tunnels=
    end_noted "$@"
    sleep 2
    end_noted "$@"
    # xl2tpd says goodbye when it is told to close a tunnel, and forgets it when it is
    # told again: else it keeps one that gets no answer for a minute, in which the
    # client cannot dial
    for tunnel in $tunnels; do close_tunnel "$tunnel"; done
}

end_noted() {
    for note in /run/vpnpush/ppp/*; do
        [ -f "$note" ] || continue
        user=$(sed -n 's/^user	//p' "$note")
        for gone in "$@"; do
            if [ "$user" = "$gone" ]; then end_session "$note" || return 1; fi
        done
    done
}

# end_session NOTE: the pppd of which the note was made ends, and its tunnel
end_session() {
    pid=$(sed -n 's/^pid	//p' "$1" 2>/dev/null)
    tunnel=$(sed -n 's/^tunnel	//p' "$1" 2>/dev/null)
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pppd ]; then
        kill -TERM "$pid" || :
        n=0
        while [ -e "/proc/$pid" ]; do
            n=$((n + 1))
            [ "$n" -ne 25 ] || kill -KILL "$pid" 2>/dev/null || :
            [ "$n" -lt 50 ] || { echo "pppd $pid does not end"; return 1; }
            sleep 0.2
        done
    fi
    rm -f -- "$1"
    if [ -n "$tunnel" ] && ! grep -qsx "tunnel	$tunnel" /run/vpnpush/ppp/*; then
        close_tunnel "$tunnel"
        tunnels="$tunnels $tunnel"
    fi
}

# close_tunnel ID. Open for reading too, the pipe is no trap where xl2tpd does not run.
close_tunnel() {
    if [ -p /run/xl2tpd/l2tp-control ]; then echo "d $1" 1<>/run/xl2tpd/l2tp-control; fi
}
