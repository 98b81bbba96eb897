#!/bin/bash
# vm/verify.sh [SUITE]    prove the true lab: set it up by hand, without vpnpush, and look:
# site tunnels by the kernel's IPsec, and a road warrior's L2TP in IPsec transport
# mode with MS-CHAPv2, behind NAT
set -uo pipefail
. "$(dirname "$0")/../verify.sh"
suite=${1:-bookworm}

check "up: bare hub; sites and a road warrior with the packages" \
    "$HERE/up.sh" "$LAB" -k vm "vps=hub:$suite" {tokyo=1,osaka=2,rw=3}":$suite:starter"
check "vps: no VPN package" not on vps dpkg-query -W strongswan-starter xl2tpd ppp iptables-persistent
check "vps: apt-get install" on vps sh -c 'export DEBIAN_FRONTEND=noninteractive; apt-get -qq update &&
    apt-get -qq -y install strongswan-starter xl2tpd ppp iptables-persistent'
check "vps: AppArmor is on" has vps 'cat /sys/module/apparmor/parameters/enabled' Y

proposals='    ike=aes256-sha256-modp2048!
    esp=aes256-sha256!'
{
    for s in tokyo:1 osaka:2; do
        cat <<E
conn ${s%:*}
    keyexchange=ikev2
    authby=secret
$proposals
    left=203.0.113.10
    leftsubnet=203.0.113.10/32,192.168.200.0/24
    right=%any
    rightid=@${s%:*}
    rightsubnet=192.168.${s#*:}.0/24
    auto=add
E
    done
    cat <<E
conn l2tp
    keyexchange=ikev1
    authby=secret
    type=transport
$proposals
    left=203.0.113.10
    leftprotoport=17/1701
    right=%any
    rightprotoport=17/%any
    rekey=no
    auto=add
E
} | put vps /etc/ipsec.conf
put vps /etc/ipsec.secrets <<'E'
@tokyo : PSK "psk of tokyo"
@osaka : PSK "psk of osaka"
203.0.113.10 : PSK "psk of l2tp"
E
put vps /etc/xl2tpd/xl2tpd.conf <<'E'
[global]
port = 1701
[lns default]
ip range = 192.168.200.10-192.168.200.50
local ip = 192.168.200.1
refuse pap = yes
require authentication = yes
name = vps
pppoptfile = /etc/ppp/options.xl2tpd
length bit = yes
E
# no tty options (lock, crtscts, modem): over the kernel's L2TP pppd exits on them
put vps /etc/ppp/options.xl2tpd <<'E'
require-mschap-v2
auth
mtu 1280
mru 1280
nodefaultroute
E
echo '"alice" "vps" "alice password" *' | put vps /etc/ppp/chap-secrets
for s in tokyo:1 osaka:2; do
    put "${s%:*}" /etc/ipsec.conf <<E
conn vps
    keyexchange=ikev2
    authby=secret
$proposals
    left=%defaultroute
    leftid=@${s%:*}
    leftsubnet=192.168.${s#*:}.0/24
    right=203.0.113.10
    rightsubnet=203.0.113.10/32,192.168.200.0/24
    auto=start
E
    echo "@${s%:*} 203.0.113.10 : PSK \"psk of ${s%:*}\"" | put "${s%:*}" /etc/ipsec.secrets
done
put rw /etc/ipsec.conf <<E
conn l2tp
    keyexchange=ikev1
    authby=secret
    type=transport
$proposals
    left=%defaultroute
    leftprotoport=17/1701
    right=203.0.113.10
    rightprotoport=17/1701
    auto=add
E
echo '%any 203.0.113.10 : PSK "psk of l2tp"' | put rw /etc/ipsec.secrets
put rw /etc/xl2tpd/xl2tpd.conf <<'E'
[lac vps]
lns = 203.0.113.10
pppoptfile = /etc/ppp/options.client
length bit = yes
E
printf '%s\n' ipcp-accept-local ipcp-accept-remote refuse-eap noccp noauth 'mtu 1280' 'mru 1280' \
    nodefaultroute 'name alice' 'password "alice password"' | put rw /etc/ppp/options.client

on vps sh -c 'sysctl -qw net.ipv4.ip_forward=1; systemctl restart strongswan-starter xl2tpd'
for h in tokyo osaka rw; do
    on $h sh -c 'sysctl -qw net.ipv4.ip_forward=1; systemctl restart strongswan-starter xl2tpd' &
done
wait
for h in tokyo osaka; do
    check "$h: tunnel installed, ESP in UDP" within 30 has $h 'ipsec status' 'INSTALLED, TUNNEL.*ESP in UDP'
done
"$HERE/in.sh" "$LAB" timeout 120 tcpdump -lni br-wan 'udp or esp or icmp' >"$LAB/wire" 2>/dev/null &
dump=$!
sleep 1
check "tokyo: ping the hub's public address" pings tokyo 203.0.113.10
check "osaka: ping the hub's public address" pings osaka 203.0.113.10
check "vps: the kernel's IPsec, not user space" not has vps 'ip -br link' ipsec0
check "rw: IKEv1 transport up" on rw ipsec up l2tp
on rw sh -c 'echo "c vps" >/var/run/xl2tpd/l2tp-control'
check "rw: PPP address from the pool" within 30 has rw 'ip -4 -br a show dev ppp0' '192\.168\.200\.[1-5][0-9]'
check "rw: ping the L2TP gateway" pings rw 192.168.200.1
on rw ip route replace 192.168.1.0/24 dev ppp0
check "rw: ping tokyo through the hub" pings rw 192.168.1.10
kill $dump
wait $dump
for a in 51 52 53; do
    check "203.0.113.$a: ESP in UDP on the wire" grep "203.0.113.$a.4500 > 203.0.113.10.4500: UDP-encap: ESP" "$LAB/wire"
done
check "no ping, no L2TP in the clear on the wire" not grep -E 'ICMP echo|\.1701|l2tp' "$LAB/wire"

boot_id() { on "$1" cat /proc/sys/kernel/random/boot_id; }
before=$(boot_id tokyo)
on tokyo systemctl reboot 2>/dev/null   # complains that there is no logind
rebooted() { local id; id=$(boot_id tokyo 2>/dev/null) && [ "$id" != "$before" ]; }
check "tokyo: reboots" within 40 rebooted
check "tokyo: tunnel comes back" within 40 has tokyo 'ipsec status' 'INSTALLED, TUNNEL'
