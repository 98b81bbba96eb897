# seed.sh: what ns/host.sh and vm/host.sh share (sourced, bash)
# shellcheck shell=bash

# seed ROOT NAME ADDR LAB: write into ROOT what cloud-init would have at the
# first boot, and print the host's line for known_hosts
seed() {
    local u=$1 name=$2 ip=${3%/*} lab=$4 h
    mkdir -p "$u/etc/ssh" "$u/root"
    echo "$name" >"$u/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$u/etc/hosts"
    : >"$u/etc/resolv.conf"
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$u/etc/ssh/ssh_host_ed25519_key"
    for h in root:0 home/admin:1000 home/pwadmin:1001; do
        mkdir -p "$u/${h%:*}/.ssh"
        cp "$lab/id_ed25519.pub" "$u/${h%:*}/.ssh/authorized_keys"
        chmod 700 "$u/${h%:*}" "$u/${h%:*}/.ssh"
        chown -R "${h#*:}:${h#*:}" "$u/${h%:*}"
    done
    echo "$name,$ip $(cut -d' ' -f1,2 "$u/etc/ssh/ssh_host_ed25519_key.pub")"
}
