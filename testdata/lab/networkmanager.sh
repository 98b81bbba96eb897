#!/bin/bash
# networkmanager.sh LAB_DIR HOST    put NetworkManager and its L2TP plugin on a bookworm
# host of a true lab that has the layer starter, and give it the host's eth0
#
# Only who plays a person's Linux needs them, so they are in no image: what such a host
# lacks is fetched once from this machine's Debian mirror, unpacked, and kept beside the
# images. To install it would take a machine of the lab a minute and more.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
. "$HERE/common.sh"
. "$HERE/rootfs.sh"
LAB=$(realpath "$1") HOST=$2
IN=("$HERE/in.sh" "$LAB")
PKGS="network-manager network-manager-l2tp"

D=$CACHE/vm/networkmanager-bookworm
mkdir -p "${D%/*}"
exec 9>"$D.lock"
flock 9
if [ ! -d "$D" ]; then
    T=$D.tmp W=$D.tmp/work      # an apt of its own, that knows what is on the host
    rm -rf "$T"
    mkdir -p "$W"/{lists/partial,archives/partial}
    sources bookworm >"$W/sources"
    list=$W/sources.list
    ! grep -q '^Types:' "$W/sources" || list=$W/all.sources     # apt goes by the ending
    mv "$W/sources" "$list"
    "${IN[@]}" ssh "$HOST" cat /var/lib/dpkg/status >"$W/status" </dev/null
    apt=(apt-get -q -y -o APT::Sandbox::User=root -o APT::Install-Recommends=false
        -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false -o Acquire::Languages=none
        -o "Dir::State=$W" -o "Dir::State::status=$W/status" -o "Dir::Cache=$W"
        -o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=-)
    # shellcheck disable=SC2086
    { "${apt[@]}" update && "${apt[@]}" install --download-only $PKGS; } >"$T/log" 2>&1 ||
        { tail -n 5 "$T/log" >&2; die "fetching $PKGS"; }
    for deb in "$W"/archives/*.deb; do dpkg-deb -x "$deb" "$W/root"; done
    rm -rf "$W"/root/usr/share/{doc,man,locale}
    tar -C "$W/root" -czf "$T/root.tar.gz" .
    rm -rf "$W"
    mv "$T" "$D"
fi

# NetworkManager takes an interface for its own once udev has seen it. It starts
# strongSwan and xl2tpd itself, for each connection. The operator stays within reach
# where everything else goes into the VPN.
setup='
set -e
tar -C / --keep-directory-symlink --no-overwrite-dir -xzf -
ldconfig
systemctl -q disable strongswan-starter xl2tpd >/dev/null 2>&1
systemctl stop strongswan-starter xl2tpd
rm -f /etc/systemd/system/systemd-udevd.service /etc/systemd/system/systemd-udevd-kernel.socket /etc/systemd/system/systemd-udevd-control.socket
systemctl daemon-reload
systemctl reload dbus
systemctl start systemd-udevd
udevadm trigger --subsystem-match=net
mkdir -p /etc/NetworkManager/system-connections
addr=$(ip -4 -o addr show dev eth0 | sed "s/.* inet \([^ ]*\) .*/\1/")
gw=$(ip -4 route show default | sed "s/default via \([^ ]*\) .*/\1/")
cat >/etc/NetworkManager/system-connections/eth0.nmconnection <<X
[connection]
id=eth0
type=ethernet
interface-name=eth0
[ipv4]
method=manual
address1=$addr,$gw
route1=203.0.113.2/32,$gw
[ipv6]
method=disabled
X
chmod 600 /etc/NetworkManager/system-connections/eth0.nmconnection
systemctl start NetworkManager
nmcli -w 30 connection up eth0
'
# It gives IPsec 25 s of the clock to come up, however loaded this machine is.
"${IN[@]}" bash -c 'pgrep -f "[l]inux.uml" | xargs -r renice -n -10' >/dev/null
"${IN[@]}" ssh "$HOST" "$setup" <"$D/root.tar.gz"
