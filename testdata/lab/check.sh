#!/bin/bash
# check.sh [ns|vm [SUITE...]]    can the lab run on this machine? If not: exit 1 and
# the reason. A mirror need not serve Debian 11 any more: that one is built here.
set -u
HERE=$(dirname "$(realpath "$0")")
. "$HERE/common.sh"
no() { echo "the ${kind} lab cannot run here: $*"; exit 1; }
kind=${1:-ns}
[ "$(id -u)" = 0 ] || no "not root"
tools="unshare nsenter setsid flock ip iptables ssh ssh-keygen ping mmdebstrap dpkg-scanpackages"
[ "$kind" = ns ] || tools+=" mke2fs"
[ "$kind" = ns ] || ! wide || tools+=" gcc"
for t in $tools; do
    command -v "$t" >/dev/null || no "no $t (testdata/lab/setup.sh installs it)"
done
[ -c /dev/net/tun ] || no "no /dev/net/tun"
why=$(unshare -m -n -p -i -u -C --fork --mount-proc --propagation private bash -ec '
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/l /mnt/u /mnt/w /mnt/m /mnt/c
    mount -t overlay overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m
    mount -t cgroup2 cgroup2 /mnt/c
    ip link add b0 type bridge
    ip link add v0 type veth peer name v1
    iptables -w -t nat -A POSTROUTING -o v1 -j MASQUERADE' 2>&1) || no "${why:-no namespaces}"
for suite in "${@:2}"; do
    [ "$suite" = bullseye ] || continue
    # what else goes wrong with it, up.sh tells
    why=$("$HERE/$kind/build.sh" bullseye 2>&1 >/dev/null) || [ $? != 3 ] || no "${why##*$'\n'}"
done
