#!/bin/bash
# vm/host.sh NAME PLACE ARTEFACTS LAYER INIT    (run by up.sh, in the lab)
#
# Runs one machine of the true lab, a User Mode Linux, until it is powered off;
# `reboot` in it boots it again on the same disk.
set -u
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/../seed.sh"
NAME=$1 AT=$2 ART=$3 LAYER=$4
place "$AT"
H=$LAB/ns/$NAME
mkdir -p "$H/seed/etc" "$H/umid"

ip tuntap add "$NAME" mode tap
ip link set "$NAME" master "$BRIDGE" up

if [ ! -s "$H/known_host" ]; then
    cat >"$H/seed/etc/lab.net" <<I
link set lo up
addr add $ADDR dev eth0
link set eth0 up
route add default via $GW
I
    [ "$AT" != hub ] || echo "addr add 10.10.0.1/32 dev lo" >>"$H/seed/etc/lab.net"
    line=$(seed "$H/seed" "$NAME" "$ADDR" "$LAB")
    tar -C "$H/seed" -cf "$H/seed.tar" .
    echo "$line" >"$H/known_host"
fi

# eth0=tuntap, not the vector driver: `reboot` makes the kernel execute itself
# anew, over which that one leaks its tap (EBUSY). The default LSM would be SELinux.
cd "$H" || exit 1
if wide; then LD_PRELOAD=$(xstate); export LD_PRELOAD; fi
export TMPDIR=$H
run=("$ART/linux.uml")
# Its own libc, for it alone: both files by one process, since no other starts between
# them. Not ld.so as a command: a reboot starts argv[0] anew.
[ ! -d "$ART/lib" ] || run=(unshare -m --propagation private bash -ec '
    printf "%s none bind 0 0\n" "$0/libc.so.6 /lib/x86_64-linux-gnu/libc.so.6" \
        "$0/ld-linux-x86-64.so.2 /lib64/ld-linux-x86-64.so.2" >libc.fstab
    mount -a -T libc.fstab
    exec "$@"' "$ART/lib" "${run[@]}")
"${run[@]}" mem="${LAB_MEM:-256M}" ubd0="disk.cow,$ART/$LAYER.ext4" ubd1r=seed.tar \
    root=/dev/ubda rw eth0=tuntap,"$NAME","$MAC" con=null con0=null,fd:1 ssl=null umid="$NAME" uml_dir=umid/ \
    lsm=apparmor quiet </dev/null >>console 2>&1
echo "== ended, rc $?" >>console
ip link del "$NAME"
flock "$LAB/lock" sed -i "/^$NAME /d" "$LAB/hosts"
