#!/bin/bash
# demo.sh    the main job as a session to read: a bare hub and two bare sites
# behind NAT become a VPN; then, where the true lab can run, someone on the road dials
# in. Needs ./vpnpush (make demo builds it) and root.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
. "$HERE/common.sh"
ROOT=$(realpath "$HERE/../..")
why=$("$HERE/check.sh" ns) || die "$why"
[ -x "$ROOT/vpnpush" ] || die "no ./vpnpush: run make"

LAB=$(mktemp -d "${TMPDIR:-/tmp}/vpnlab-XXXXXX")
trap '"$HERE/down.sh" "$LAB"; rm -rf "$LAB"' EXIT
if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi

# A directory of the operator's, with the inventory in it.
mkdir "$LAB/home"
install -m 600 "$ROOT/testdata/inventories/lab-ns.toml" "$LAB/home/vpnpush.toml"
cd "$LAB/home"
export VPNPUSH_LAB_CACHE=$CACHE HOME=$LAB/home PATH=$ROOT:$PATH
unset SSH_AUTH_SOCK

note() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
show() { # show COMMAND: as typed by the operator; its exit code is shown when it is not 0
    local rc=0
    printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"
    "$HERE/in.sh" "$LAB" bash -o pipefail -c "$*" || rc=$?
    [ $rc = 0 ] || echo "(exit code $rc)"
    return $rc
}

note "a Debian 12 hub, and sites on Debian 12 and 13, each behind its own NAT; nothing installed"
"$HERE/up.sh" "$LAB" vps=hub tokyo=1 osaka=2:trixie
show "ssh tokyo ping -c 1 -W 1 10.10.0.1 | tail -n 2" || true
note "what would be done on one of them"
show vpnpush plan --limit tokyo
note "do it"
show "vpnpush apply --yes | tail -n 6"
note "nothing is left to do, and cron has nothing to mail"
show vpnpush plan
show vpnpush drift
show vpnpush status
note "the LAN of the hub from tokyo, and tokyo from the hub"
show ssh tokyo ping -c 3 -i 0.2 -W 2 10.10.0.1
show ssh vps ping -c 1 -W 2 192.168.1.10
note "someone edits a host by hand"
show "ssh tokyo sed -i s/dpddelay=10s/dpddelay=3s/ /etc/ipsec.d/vpnpush/tokyo.conf"
show vpnpush drift || [ $? = 2 ]

# The true lab: kernels with L2TP.
if ! why=$("$HERE/check.sh" vm); then
    note "nobody on the road dials in: $why"
    exit 0
fi
"$HERE/down.sh" "$LAB"
note "alice on the road, with a Debian laptop behind a NAT of her own (machines boot, a minute or two)"
install -m 600 "$ROOT/testdata/inventories/lab-vm.toml" vpnpush.toml
"$HERE/up.sh" "$LAB" -k vm vps=hub::starter tokyo=1::starter laptop=3::starter
"$HERE/networkmanager.sh" "$LAB" laptop >/dev/null
show "vpnpush apply --yes --limit vps,tokyo | tail -n 4"
show vpnpush export alice --for linux --out alice
file=vpn-alice-linux.nmconnection to=/etc/NetworkManager/system-connections
show "scp -q alice/$file laptop: && ssh laptop 'install -m 600 $file $to && nmcli connection load $to/$file'"
# on a busy machine the 25 s that NetworkManager gives it may be over
for n in 1 2 3; do
    if show "ssh laptop nmcli connection up \"'VPN vps'\""; then break; fi
    [ "$n" -lt 3 ]
done
show ssh laptop ping -c 3 -i 0.2 -W 2 192.168.1.10
show "vpnpush status --limit vps | grep alice" || [ $? = 2 ]   # osaka is not there
