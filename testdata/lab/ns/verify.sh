#!/bin/bash
# ns/verify.sh    prove the fast lab: set it up by hand, without vpnpush, and look
set -uo pipefail
. "$(dirname "$0")/../verify.sh"

check "up: bookworm hub, bookworm and trixie sites, bare" \
    "$HERE/up.sh" "$LAB" vps=hub tokyo=1 osaka=2:trixie
for h in vps tokyo osaka; do
    check "$h: no VPN package" not on $h dpkg-query -W strongswan-starter strongswan-charon \
        charon-systemd xl2tpd ppp iptables-persistent
done
check "tokyo: reaches the hub through the NAT" pings tokyo 203.0.113.10
check "vps: does not reach the site" not pings vps 192.168.1.10

pids=() hosts=(vps tokyo osaka)
for h in "${hosts[@]}"; do
    on "$h" sh -c 'export DEBIAN_FRONTEND=noninteractive; apt-get -qq update &&
        apt-get -qq -y install strongswan-starter xl2tpd ppp iptables-persistent' >/dev/null &
    pids+=($!)
done
for i in "${!pids[@]}"; do
    wait "${pids[$i]}"
    check "${hosts[$i]}: apt-get install" [ $? = 0 ]
done

conn='    keyexchange=ikev2
    authby=secret
    ike=aes256-sha256-modp2048!
    esp=aes256-sha256!'
for s in tokyo:1:2 osaka:2:1; do
    IFS=: read -r name n other <<<"$s"
    cat <<E
conn $name
$conn
    left=203.0.113.10
    leftsubnet=203.0.113.10/32,10.10.0.0/24,192.168.$other.0/24
    right=%any
    rightid=@$name
    rightsubnet=192.168.$n.0/24
    auto=add
E
done | put vps /etc/ipsec.conf
printf '@tokyo : PSK "psk of tokyo"\n@osaka : PSK "psk of osaka"\n' | put vps /etc/ipsec.secrets
for s in tokyo:1:2 osaka:2:1; do
    IFS=: read -r name n other <<<"$s"
    put "$name" /etc/ipsec.conf <<E
conn vps
$conn
    left=%defaultroute
    leftid=@$name
    leftsubnet=192.168.$n.0/24
    right=203.0.113.10
    rightsubnet=203.0.113.10/32,10.10.0.0/24,192.168.$other.0/24
    keyingtries=%forever
    auto=start
E
    echo "@$name 203.0.113.10 : PSK \"psk of $name\"" | put "$name" /etc/ipsec.secrets
done
for h in vps tokyo osaka; do
    echo net.ipv4.ip_forward=1 | put $h /etc/sysctl.d/60-lab.conf
    on $h sh -c 'sysctl -q --system 2>/dev/null; systemctl restart strongswan-starter'
done

tunnels() {
    for h in tokyo osaka; do
        check "$h: tunnel installed, ESP in UDP" within 30 has $h 'ipsec status' 'INSTALLED, TUNNEL.*ESP in UDP'
        check "$h: ping the hub's LAN" pings $h 10.10.0.1
        check "$h: ping the hub's public address" pings $h 203.0.113.10
    done
    check "vps: ping tokyo" pings vps 192.168.1.10
    check "tokyo: ping osaka, relayed by the hub" pings tokyo 192.168.2.10
    check "osaka: ping tokyo, relayed by the hub" pings osaka 192.168.1.10
}
"$HERE/in.sh" "$LAB" tcpdump -lni br-wan 'udp port 4500 or esp or icmp' >"$LAB/wire" 2>/dev/null &
dump=$!
tunnels
kill $dump
wait $dump
for a in 51 52; do
    check "203.0.113.$a: ESP in UDP on the wire" grep "203.0.113.$a.4500 > 203.0.113.10.4500: UDP-encap: ESP" "$LAB/wire"
done
check "no ping in the clear on the wire" not grep 'ICMP echo' "$LAB/wire"

boot_id() { on "$1" cat /proc/sys/kernel/random/boot_id; }
for h in tokyo vps; do
    before=$(boot_id $h)
    on $h systemctl reboot
    rebooted() { local id; id=$(boot_id "$h" 2>/dev/null) && [ "$id" != "$before" ]; }
    check "$h: reboots" within 20 rebooted
    check "$h: ip_forward survives" within 10 has $h 'sysctl -n net.ipv4.ip_forward' '^1$'
done
# the rebooted hub has no SA; a site dials anew once it notices (dpd is off here)
for h in tokyo osaka; do on $h systemctl restart strongswan-starter; done
tunnels
check "a third site joins" "$HERE/up.sh" "$LAB" nagoya=3
check "nagoya: reaches the hub" pings nagoya 203.0.113.10
check "control: ssh knows it" "$HERE/in.sh" "$LAB" ssh admin@nagoya sudo -n true
