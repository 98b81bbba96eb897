#!/bin/bash
# ns/build.sh [SUITE]    build what the fast lab's hosts are made of
#
# Prints the directory it built, or found built:
#   base/       rootfs of a bare Debian server: systemd, sshd, sudo, iptables;
#               no VPN software, no Python
#   starter/    overlay layer on base: strongswan-starter, xl2tpd, ppp, iptables-persistent
#   swanctl/    overlay layer on base: charon-systemd and swanctl in place of starter
#   repo/       flat apt repository with all of these, bound to /srv/aptrepo
#
# charon can do ESP only in user space where the kernel is shared, so base also
# holds its kernel-libipsec plugin, switched on in /etc/strongswan.d/lab.conf.
# Those files belong to no package, and no conffile of one is touched.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/../rootfs.sh"
SUITE=${1:-bookworm}
D=$(artefact ns "$SUITE")
umask 022
mkdir -p "${D%/*}"
exec 9>"$D.lock"
flock 9
if [ -d "$D" ]; then echo "$D"; exit 0; fi
[ "$(id -u)" = 0 ] || die "needs root"
for t in mmdebstrap dpkg-scanpackages; do command -v $t >/dev/null || die "no $t: run setup.sh"; done

T=$D.tmp R=$D.tmp/base
rm -rf "$T"
mkdir -p "$T"
say "mmdebstrap $SUITE"
pkgs=systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,sudo,iproute2,iptables,nftables
pkgs+=,iputils-ping,procps,kmod,netbase,ca-certificates,less,cron,tcpdump
bootstrap "$SUITE" "$R" "$pkgs" "$T/log"

# The mounts below end with this namespace, whatever happens.
say "packages"
export -f download fetch unserved aptin localrepo accounts
export T R STARTER_PKGS SWANCTL_PKGS OTHER_PKGS
unshare -m --propagation private bash -euo pipefail -c '
    mount -t proc proc "$R/proc"
    mount --bind /dev "$R/dev"
    download "$R" "$T/repo" "$T/log"
    localrepo "$R"
    accounts "$R"
'
# Units with nothing to do in a namespace, or that wait for hardware. Each that is loaded
# costs a boot, and systemctl daemon-reload, which an apply runs, loads all of them again.
for u in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket \
    systemd-udevd-control.socket systemd-modules-load.service kmod-static-nodes.service \
    systemd-timesyncd.service getty.target console-getty.service sys-kernel-config.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount \
    systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
    fstrim.timer man-db.timer e2scrub_reap.service dpkg-db-backup.timer dpkg-db-backup.service \
    initrd{,-fs,-root-fs,-root-device,-switch-root,-usr-fs}.target emergency.service rescue.service \
    initrd-{cleanup,parse-etc,switch-root,udevadm-cleanup-db}.service \
    modprobe@{configfs,dm_mod,drm,efi_pstore,fuse,loop}.service \
    systemd-ask-password-{console,wall}.{path,service} systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.{automount,mount} systemd-{fsckd,initctl}.{service,socket} \
    systemd-fsck-root.service systemd-pcrphase{,-initrd,-sysinit}.service systemd-pstore.service \
    systemd-{random-seed,repart,sysext,machine-id-commit,update-utmp,update-utmp-runlevel}.service \
    getty-static.service getty@tty1.service sys-fs-fuse-connections.mount rc-local.service \
    systemd-tmpfiles-clean.{timer,service} {,remote-}{crypt,verity}setup.target integritysetup.target; do
    ln -sf /dev/null "$R/etc/systemd/system/$u"
done
# The same for what makes units of hardware and of the kernel's command line; xl2tpd has
# a script of SysV's.
mkdir -p "$R/etc/systemd/system-generators"
for g in "$R"/lib/systemd/system-generators/*; do
    case $g in
    */systemd-sysv-generator) ;;
    *) ln -s /dev/null "$R/etc/systemd/system-generators/${g##*/}" ;;
    esac
done
dpkg-deb -x "$T"/repo/libcharon-extra-plugins_*.deb "$T/plugins"
mkdir -p "$R/usr/lib/ipsec/plugins" "$R/etc/strongswan.d"
cp -a "$T"/plugins/usr/lib/ipsec/libipsec.so* "$R/usr/lib/ipsec/"
cp -a "$T/plugins/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so" "$R/usr/lib/ipsec/plugins/"
cat >"$R/etc/strongswan.d/lab.conf" <<'E'
# The lab's, not vpnpush's: ESP in user space. The marks keep IKE and ESP packets
# out of a tunnel whose selectors hold the peer itself.
charon {
    plugins {
        kernel-libipsec {
            load = yes
            allow_peer_ts = yes
        }
        kernel-netlink {
            fwmark = !0x42
        }
        socket-default {
            fwmark = 0x42
        }
    }
}
E

# shellcheck disable=SC2086
layer starter $STARTER_PKGS
# shellcheck disable=SC2086
layer swanctl $SWANCTL_PKGS

rm -rf "$T/plugins"
mv "$T" "$D"
say "$(du -sm "$D" | cut -f1) MiB"
echo "$D"
