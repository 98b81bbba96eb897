# shellcheck shell=sh
# The part of an apply script that ends L2TP sessions.

# end_session NOTE: the pppd of which the note was made ends
end_session() {
    pid=$(sed -n 's/^pid	//p' "$1" 2>/dev/null)
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
}
