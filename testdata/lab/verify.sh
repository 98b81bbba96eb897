# verify.sh: what ns/verify.sh and vm/verify.sh share (sourced, bash). It brings
# a lab up in $LAB, ends it with the script, and counts what failed.
# shellcheck shell=bash

HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$HERE/common.sh"
LAB=$(mktemp -d "${TMPDIR:-/tmp}/vpnlab-XXXXXX")
trap '"$HERE/down.sh" "$LAB"; rm -rf "$LAB"; [ $fails = 0 ] || { echo "$fails failed"; exit 1; }' EXIT
fails=0

on() { local h=$1; shift; timeout 120 "$HERE/in.sh" "$LAB" "@$h" "$@"; }
put() { on "$1" sh -c "umask 077; cat >$2"; }           # put HOST FILE <text
check() {                                                # check TEXT COMMAND...
    local text=$1 out; shift
    if out=$("$@" 2>&1); then
        printf 'ok   %3ds %s\n' $SECONDS "$text"
    else
        printf 'FAIL %3ds %s\n%s\n' $SECONDS "$text" "$out"
        fails=$((fails + 1))
    fi
}
within() { # within SECONDS COMMAND...
    local end=$((SECONDS + $1)); shift
    until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.3; done
}
has() { on "$1" sh -c "$2" 2>&1 | grep -E "$3"; }        # has HOST SCRIPT REGEX
pings() { on "$1" ping -c 3 -i 0.2 -W 2 "$2"; }          # pings HOST ADDRESS
not() { ! "$@"; }
