#!/bin/bash
# ns/host.sh NAME PLACE ARTEFACTS LAYER INIT    (run by up.sh, in the lab)
#
# Runs one host of the fast lab until it is powered off; `reboot` in it boots it
# again, on the same disk but with a fresh network namespace, as a reboot does.
set -u
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/../seed.sh"
NAME=$1 AT=$2 ART=$3 LAYER=$4 INIT=$5
place "$AT"
H=$LAB/ns/$NAME CG=$LAB/cg/vpnpush-lab-$(cat "$LAB/id")/$NAME
lower=$ART/base
[ "$LAYER" = bare ] || lower=$ART/$LAYER:$lower
mkdir -p "$H/upper" "$H/work" "$H/root"

net_up() {
    ip link del "v-$NAME" 2>/dev/null
    ip netns del "$NAME" 2>/dev/null
    ip netns add "$NAME"
    ip -b - <<I
link add v-$NAME type veth peer name eth0 address $MAC netns $NAME
link set v-$NAME master $BRIDGE up
I
    ip -n "$NAME" -b - <<I
link set lo up
addr add $ADDR dev eth0
link set eth0 up
route add default via $GW
I
    # 10.10.0.1 is a LAN of the hub. The .254 are for the relay: kernel-libipsec
    # puts a tunnel up only if the host has an address inside its local subnet.
    [ "$AT" != hub ] || printf "addr add %s dev lo\n" 10.10.0.1/32 192.168.{1..9}.254/32 | ip -n "$NAME" -b -
}

if [ ! -s "$H/known_host" ]; then
    # A session, its scope and a manager of root's units are two fifths of what a login costs
    # the host. One that is bare has them, as Debian does.
    if [ -n "${LAB_NO_PAM:-}" ] && [ "$LAYER" != bare ]; then
        mkdir -p "$H/upper/etc/ssh/sshd_config.d"
        echo UsePAM no >"$H/upper/etc/ssh/sshd_config.d/lab-pam.conf"
    fi
    seed "$H/upper" "$NAME" "$ADDR" "$LAB" >"$H/known_host"
fi

# Runs with fresh mount, pid, uts and ipc namespaces. Its first line joins the
# host's cgroup, and only then is the cgroup namespace made, so that the cgroup2
# tree that the host sees begins at its own cgroup.
boot='
set -e
if [ "$INIT" = systemd ]; then mkdir -p "$CG"; echo 0 >"$CG/cgroup.procs"; fi
exec unshare -C bash -ec "
mount -t overlay overlay -o lowerdir=$lower,upperdir=$H/upper,workdir=$H/work $H/root
cd $H/root
mount -t proc proc proc -o nosuid,nodev,noexec
# only /proc/sys/net is the own of the host: the machine keeps the rest
for d in proc/sys/*; do
    [ \$d = proc/sys/net ] || { mount --bind \$d \$d; mount -o remount,bind,ro \$d; }
done
cat /proc/sys/kernel/random/uuid >$H/boot_id
mount --bind $H/boot_id proc/sys/kernel/random/boot_id
[ ! -e proc/sysrq-trigger ] || mount --bind /dev/null proc/sysrq-trigger
mount -t sysfs sysfs sys -o nosuid,nodev,noexec
mount -t cgroup2 cgroup2 sys/fs/cgroup -o nosuid,nodev,noexec
mount -o remount,bind,ro sys
mount -t tmpfs tmpfs dev -o mode=755,nosuid
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
mkdir dev/net dev/pts dev/shm; mknod -m 666 dev/net/tun c 10 200
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666,mode=620,gid=5
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs tmpfs dev/shm -o nosuid,nodev
mount -t tmpfs tmpfs run -o mode=755,nosuid,nodev
mount -t tmpfs tmpfs tmp -o mode=1777,nosuid,nodev
mount --bind $ART/repo srv/aptrepo
hostname $NAME
mkdir -p .old; pivot_root . .old; umount -l /.old; rmdir /.old
if [ $INIT = systemd ]; then
    exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --log-target=journal --show-status=0
else
    mkdir -p /run/sshd
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /bin/sh -c \"/usr/sbin/sshd -D -e & wait\"
fi
"'
export NAME INIT ART H CG lower
while :; do
    # Lab.Restore has put a disk there that is to take the place of the host's
    if [ -d "$H/next" ]; then
        rm -rf "$H/upper" "$H/work"
        mv "$H/next" "$H/upper"
        mkdir "$H/work"
    fi
    net_up
    nsenter --net="/run/netns/$NAME" unshare -m -p -u -i --fork --kill-child --mount-proc=/proc --propagation private \
        bash -c "$boot" </dev/null >>"$H/console" 2>&1 &
    echo $! >"$H/unshare"       # for in.sh
    wait $!
    rc=$?
    rm "$H/unshare"
    [ $rc = 129 ] || break      # 129: SIGHUP, that is reboot(2); else powered off
    echo "== reboot" >>"$H/console"
done
echo "== ended, rc $rc" >>"$H/console"
ip link del "v-$NAME" 2>/dev/null
ip netns del "$NAME" 2>/dev/null
flock "$LAB/lock" sed -i "/^$NAME /d" "$LAB/hosts"
