# common.sh: what the lab's scripts share (sourced, bash)
# shellcheck shell=bash disable=SC2034

CACHE=${VPNPUSH_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vpnpush-lab}
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

say() { printf '[%3ds] %s: %s\n' "$SECONDS" "${0#"${0%/*/*}"/}" "$*" >&2; }
die() { echo "${0##*/}: $*" >&2; exit 1; }

# artefact KIND SUITE: the directory of what KIND/build.sh made for SUITE. Its
# name holds a digest of that script, so that a changed script builds anew.
artefact() {
    local here; here=$(dirname "${BASH_SOURCE[0]}")
    echo "$CACHE/$1/$2-$(cat "$here/$1/build.sh" "$here/rootfs.sh" | sha256sum | cut -c1-12)"
}

# wide: the processor has more register state than User Mode Linux knows of (vm/xstate.c)
wide() { grep -qw amx_tile /proc/cpuinfo; }
# xstate: the library for that, which vm/build.sh makes
xstate() { echo "$CACHE/vm/xstate-$(sha256sum <"$(dirname "${BASH_SOURCE[0]}")/vm/xstate.c" | cut -c1-12).so"; }

# place PLACE: sets BRIDGE ADDR GW MAC of a host by where it stands
place() {
    case $1 in
    hub)      BRIDGE=br-wan ADDR=203.0.113.10/24 GW=203.0.113.2 ;;
    [1-9])    BRIDGE=br-lan$1 ADDR=192.168.$1.10/24 GW=192.168.$1.1 ;;
    e[1-9] | e[1-9][0-9] | e1[0-4][0-9])
              BRIDGE=br-wan ADDR=203.0.113.$((100 + ${1#e}))/24 GW=203.0.113.2 ;;
    *)        die "no place $1: hub, 1..9, e1..e149" ;;
    esac
    # shellcheck disable=SC2046,SC2183
    MAC=$(printf 02:00:%02x:%02x:%02x:%02x $(tr . " " <<<"${ADDR%/*}"))   # the same after a reboot
}

