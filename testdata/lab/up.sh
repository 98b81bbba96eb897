#!/bin/bash
# up.sh LAB_DIR [-k ns|vm] [HOST...]    start a lab, or add hosts to a running one
#
# HOST is NAME=PLACE[:SUITE[:LAYER[:INIT]]]; none: vps=hub tokyo=1 osaka=2.
#   PLACE  hub; 1 to 9, the site behind NAT router N; e1 to e149, more public hosts
#   SUITE  bullseye, bookworm, trixie; none: $LAB_SUITE, or bookworm
#   LAYER  bare (default), starter, swanctl: the VPN packages on it
#   INIT   systemd (default), sshd: what is PID 1          (vm: systemd only)
# -k says what the hosts of this call are: namespaces on this kernel, or machines
# with a kernel of their own. Returns when each answers on port 22.
#
#         control 203.0.113.2 (in.sh LAB_DIR CMD runs there)
#              |
#    ----------+-------- br-wan 203.0.113.0/24 -----------+----------
#              |                    |                     |
#        hub 203.0.113.10    r1 203.0.113.51 NAT    r2 203.0.113.52 NAT
#        LAN 10.10.0.1          192.168.1.1            192.168.2.1
#                                   |                     |
#                         site 192.168.1.10     site 192.168.2.10
#
# Control has routes to the LANs through the routers (it stands for an operator
# who is on those LANs too). The hub has none: what gets from it to a site came
# through a tunnel, or through the NAT's conntrack.
#
# Everything is in namespaces of its own below one process, LAB_DIR/pid: nothing
# changes in this machine's network, and down.sh ends all by ending that one. Disks
# of hosts in LAB_DIR/kept.tar, as ns/NAME/upper with ns/NAME/known_host, are theirs.
# With LAB_NO_PAM=1 a login to namespaces that are not bare makes no session. In
# control, /etc/ssh/ssh_config is LAB_DIR/ssh_config, so every ssh there knows the
# hosts, their keys and the operator's key. With LAB_OWNED=1 the lab also ends when
# descriptor 3, the reading end of a pipe, does.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
. "$HERE/common.sh"
[ $# -ge 1 ] || die "usage: up.sh LAB_DIR [-k ns|vm] [NAME=PLACE[:SUITE[:LAYER[:INIT]]]...]"
mkdir -p "$1"
LAB=$(realpath "$1")
shift
KIND=ns
if [ "${1:-}" = -k ]; then KIND=$2; shift 2; fi
[ $# -gt 0 ] || set -- vps=hub tokyo=1 osaka=2
case $KIND in ns | vm) ;; *) die "-k ns or vm, not $KIND" ;; esac

# --- what the hosts are made of -------------------------------------------
specs=()
declare -A arts=()
for spec; do
    [[ $spec =~ ^([a-z][a-z0-9-]*)=([a-z0-9]+)(:([a-z]*)(:([a-z]*)(:([a-z]*))?)?)?$ ]] || die "$spec: want NAME=PLACE[:SUITE[:LAYER[:INIT]]]"
    name=${BASH_REMATCH[1]} at=${BASH_REMATCH[2]} suite=${BASH_REMATCH[4]:-${LAB_SUITE:-bookworm}}
    layer=${BASH_REMATCH[6]:-bare} init=${BASH_REMATCH[8]:-systemd}
    place "$at"
    case $layer in bare | starter | swanctl) ;; *) die "$spec: no layer $layer" ;; esac
    case $init in systemd) ;; sshd) [ "$KIND" = ns ] || die "$spec: a machine's init is systemd" ;; *) die "$spec: no init $init" ;; esac
    [ -n "${arts[$suite]:-}" ] || arts[$suite]=$("$HERE/$KIND/build.sh" "$suite")
    specs+=("$name $at ${arts[$suite]} $layer $init")
done

# Every systemd takes some of root's inotify instances, of which Linux allows 128
# unless told otherwise: enough for 15 hosts, all labs together.
n=/proc/sys/fs/inotify/max_user_instances
[ "$(cat $n)" -ge 1024 ] || echo 1024 2>/dev/null >$n || true

exec 9>"$LAB/lock"
flock 9

# --- the lab itself ----------------------------------------------------------
main='
set -eu
mount -t tmpfs tmpfs "$LAB/ns" -o mode=755,size=75%    # the disks of the hosts
[ ! -e "$LAB/kept.tar" ] || tar --xattrs --xattrs-include="*" -xpf "$LAB/kept.tar" -C "$LAB" ns
mount -t tmpfs tmpfs /run/netns
mount -t cgroup2 cgroup2 "$LAB/cg"                     # whatever the machine has mounted
mkdir -p "$LAB/cg/vpnpush-lab-$LABID"
mount --bind "$LAB/ssh_config" /etc/ssh/ssh_config
echo 0 >/proc/sys/net/ipv4/ip_forward                  # the internet forwards nothing private
ip -b - <<I
link set lo up
link add br-wan type bridge
addr add 203.0.113.2/24 dev br-wan
link set br-wan up
I
echo >"$LAB/started"
if [ -n "${LAB_OWNED:-}" ]; then cat <&3 >/dev/null & else sleep infinity & fi
wait $!
'
if ! { [ -e "$LAB/pid" ] && [ -e "/proc/$(cat "$LAB/pid")" ]; }; then
    LABID=$(basename "$LAB")-$$
    rm -f "$LAB"/{started,pid,hosts,known_hosts}
    mkdir -p "$LAB/ns" "$LAB/cg" /run/netns
    echo "$LABID" >"$LAB/id"
    : >"$LAB/ssh_config"
    : >"$LAB/hosts"
    [ -e "$LAB/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -C lab -f "$LAB/id_ed25519"
    LAB=$LAB LABID=$LABID setsid unshare -m -n -p -i --fork --kill-child --mount-proc --propagation private \
        bash -c "$main" </dev/null >"$LAB/log" 2>&1 9>&- &
    U=$!
    until [ -e "$LAB/started" ]; do
        kill -0 $U 2>/dev/null || { cat "$LAB/log" >&2; exit 1; }
        sleep 0.02
    done
    tr -d ' ' <"/proc/$U/task/$U/children" >"$LAB/pid"
fi
IN=("$HERE/in.sh" "$LAB")

# --- hosts ---------------------------------------------------------------------
router='
ip netns add r$1
ip -b - <<I
link add v-r$1 type veth peer name wan netns r$1
link set v-r$1 master br-wan up
link add l-r$1 type veth peer name lan netns r$1
link add br-lan$1 type bridge
link set l-r$1 master br-lan$1 up
link set br-lan$1 up
I
ip -n r$1 -b - <<I
link set lo up
addr add 203.0.113.5$1/24 dev wan
addr add 192.168.$1.1/24 dev lan
link set wan up
link set lan up
route add default via 203.0.113.2
I
ip netns exec r$1 bash -c "echo 1 >/proc/sys/net/ipv4/ip_forward"
ip netns exec r$1 iptables -w -t nat -A POSTROUTING -o wan -s 192.168.$1.0/24 -j MASQUERADE
ip route add 192.168.$1.0/24 via 203.0.113.5$1
'
started=()
for spec in "${specs[@]}"; do
    read -r name at art layer init <<<"$spec"
    ! grep -q "^$name " "$LAB/hosts" || { echo "$name: already up" >&2; continue; }
    place "$at"
    case $at in [1-9]) "${IN[@]}" test -e "/run/netns/r$at" || "${IN[@]}" bash -ec "$router" router "$at" ;; esac
    "${IN[@]}" setsid --fork "$HERE/$KIND/host.sh" "$name" "$at" "$art" "$layer" "$init" \
        </dev/null >>"$LAB/log" 2>&1 3<&- 9>&-
    echo "$name ${ADDR%/*} $KIND" >>"$LAB/hosts"
    started+=("$name")
done

{
    while read -r name ip _; do
        printf 'Host %s %s\n    HostName %s\n' "$name" "$ip" "$ip"
    done <"$LAB/hosts"
    cat <<I
Host *
    User root
    IdentityFile $LAB/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile $LAB/known_hosts
    BatchMode yes
I
} >"$LAB/ssh_config"

wait='
for name in "$@"; do
    ip=$(sed -n "s/^$name \([^ ]*\) .*/\1/p" "$LAB/hosts") H=$LAB/ns/$name
    until { read -r -t 2 banner <"/dev/tcp/$ip/22" && [[ $banner == SSH* ]] && [ -s "$H/known_host" ]; } 2>/dev/null; do
        if [ $SECONDS -gt 90 ] || grep -qs "^== ended" "$H/console"; then
            echo "$name ($ip) does not answer" >&2
            tail -n 20 "$H/console" >&2
            exit 1
        fi
        sleep 0.05
    done
done
cat "$LAB"/ns/*/known_host >"$LAB/known_hosts"
'
"${IN[@]}" bash -c "$wait" wait "${started[@]}"
