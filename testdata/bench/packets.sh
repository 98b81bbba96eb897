#!/bin/bash
# packets.sh [N...]    what the packet filter of a hub with N sites (default 20 2000)
#                      costs a packet that it forwards, in processor time
#
# Each filter runs in a router of its own between two namespaces. A datagram from the
# hub's LAN goes to each site in turn, or from a stranger to a stranger; the link behind
# the router is called ipsec0, so that no rule decides early and a packet meets the most
# that it can. There are 1,000 flows, however many sites. Told is the least of ROUNDS (7),
# in turns, for no filter at all, for the filter as it is, and for a rule for each network,
# as it was.
#
# Wants root, Go and iptables; leaves the machine's own network alone.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
ROOT=$(realpath "$HERE/../..")
[ $# -gt 0 ] || set -- 20 2000
WORK=$(mktemp -d -p /dev/shm)
ID=vpbench$$
spaces=()
trap 'for s in "${spaces[@]}"; do ip netns del "$s"; done; rm -rf "$WORK"' EXIT
go -C "$ROOT" build -o "$WORK/vpnpush" ./cmd/vpnpush
go -C "$ROOT" build -o "$WORK/flood" ./testdata/bench/flood

# rules FROM TO: the hub's rules.v4 for these sites
rules() {
    rm -rf "$WORK/out"
    {
        printf '[hub]\naddress = "203.0.113.10"\nname = "vps"\nsubnets = ["10.10.0.0/24"]\n'
        for ((i = $1; i < $2; i++)); do
            printf '[sites.site%05d]\nsubnets = ["%s.%d/26"]\npsk = "key-of-site-%05d-0123456789abcdef"\n' \
                "$i" "$(net "$i")" $((i % 4 * 64)) "$i"
        done
    } >"$WORK/inventory.toml"
    chmod 600 "$WORK/inventory.toml"
    "$WORK/vpnpush" -i "$WORK/inventory.toml" render --out "$WORK/out" >/dev/null
    cat "$WORK/out/vps/etc/iptables/rules.v4"
}

net() { echo "172.$((16 + $1 / 1024)).$(($1 / 4 % 256))"; }

# strung N: a rule for each network, as few sites have it, for N of them
strung() {
    for ((at = 0; at < $1; at += 20)); do rules "$at" $((at + 20 < $1 ? at + 20 : $1)); done | awk '
        /^[*]/ { t = $0; next }
        /^:/ || $3 == "-j" && NF == 4 { if (!seen[t, $0]++) head[t] = head[t] $0 "\n"; next }
        /^-A/ { rest[t] = rest[t] $0 "\n" }
        END { for (t in head) printf "%s\n%s%sCOMMIT\n", t, head[t], rest[t] }'
}

# router NAME <RULES
router() {
    local lan=$ID-$1-lan hub=$ID-$1-hub far=$ID-$1-far
    for s in "$lan" "$hub" "$far"; do ip netns add "$s"; spaces+=("$s"); ip -n "$s" link set lo up; done
    ip -n "$lan" link add eth0 type veth peer name lan0 netns "$hub"
    ip -n "$far" link add eth0 type veth peer name ipsec0 netns "$hub"
    ip -n "$hub" addr add 10.10.0.1/24 dev lan0
    ip -n "$hub" addr add 198.18.0.1/24 dev ipsec0
    ip -n "$lan" addr add 10.10.0.5/24 dev eth0
    ip -n "$lan" addr add 198.18.1.9/32 dev eth0
    ip -n "$far" addr add 198.18.0.2/24 dev eth0
    for l in "$lan eth0" "$far eth0" "$hub lan0" "$hub ipsec0"; do ip -n "${l% *}" link set "${l#* }" up; done
    ip -n "$lan" route add default via 10.10.0.1
    ip -n "$hub" route add default via 198.18.0.2
    ip -n "$hub" route add 198.18.1.9/32 dev lan0
    ip netns exec "$hub" sysctl -qw net.ipv4.ip_forward=1
    # what arrives is dropped, not answered
    ip -n "$far" route add blackhole default
    ip netns exec "$far" sysctl -qw net.ipv4.conf.all.rp_filter=0
    ip netns exec "$hub" iptables-restore
}

# measure NAME SOURCE <ADDRESSES
measure() {
    local count=${COUNT:-100000} sites=${1#was}
    [ "$sites" = "$1" ] || [ "$sites" -lt 200 ] || count=$((count / 20)) # it takes long
    ip netns exec "$ID-$1-lan" "$WORK/flood" "$count" "$2"
}

# sites N: an address for each flow, in one of N sites
sites() {
    for ((i = 0; i < 1000; i++)); do
        at=$((i * 7919 % $1))
        echo "$(net $at).$((at % 4 * 64 + 2 + i / $1))"
    done
}

names=(none)
router none </dev/null
for n; do
    rules 0 "$n" >"$WORK/now" && router "now$n" <"$WORK/now"
    strung "$n" >"$WORK/was" && router "was$n" <"$WORK/was"
    names+=("was$n" "now$n")
    sites "$n" >"$WORK/sites$n"
done
for ((i = 0; i < 1000; i++)); do echo "198.51.$((100 + i / 250)).$((i % 250 + 1))"; done >"$WORK/strangers"
for ((round = 0; round < ${ROUNDS:-7}; round++)); do
    for name in "${names[@]}"; do
        n=${name//[a-z]/}
        echo "$name site $(measure "$name" 10.10.0.5 <"$WORK/sites${n:-$1}")"
        echo "$name stranger $(measure "$name" 198.18.1.9 <"$WORK/strangers")"
    done
done >"$WORK/all"

least() { awk -v n="$1" -v k="$2" '$1 == n && $2 == k { print $3 }' "$WORK/all" | sort -n | head -n 1; }

printf '%-28s %12s %12s\n' 'us of processor a packet' 'to a site' 'a stranger'
for name in "${names[@]}"; do
    case $name in
    none) what='no filter' ;;
    was*) what="${name#was} sites, a rule each" ;;
    *) what="${name#now} sites" ;;
    esac
    printf '%-28s %12.2f %12.2f\n' "$what" "$(least "$name" site)" "$(least "$name" stranger)"
done
