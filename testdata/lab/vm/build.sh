#!/bin/bash
# vm/build.sh [SUITE]    build what the true lab's machines boot from
#
# Prints the directory it built, or found built:
#   linux.uml      User Mode Linux: Debian's kernel for it, unpacked, not installed
#   bare.ext4      bare Debian server; apt-get installs the VPN packages from the
#                  repository in it, /srv/aptrepo
#   starter.ext4   the same with strongSwan, xl2tpd and iptables-persistent installed
#
# A machine reads who it is from its second disk, a tar archive (see host.sh).
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/../rootfs.sh"
SUITE=${1:-bookworm}
D=$(artefact vm "$SUITE")
umask 022
mkdir -p "${D%/*}"
exec 9>"$D.lock"
flock 9
if wide && [ ! -e "$(xstate)" ]; then
    command -v gcc >/dev/null || die "no gcc: run setup.sh"
    gcc -O2 -Wall -shared -fPIC -o "$(xstate).tmp" "$(dirname "$0")/xstate.c"
    mv "$(xstate).tmp" "$(xstate)"
fi
if [ -d "$D" ]; then echo "$D"; exit 0; fi
[ "$(id -u)" = 0 ] || die "needs root"
for t in mmdebstrap dpkg-scanpackages mke2fs; do command -v $t >/dev/null || die "no $t: run setup.sh"; done

T=$D.tmp R=$D.tmp/root
rm -rf "$T"
mkdir -p "$T/uml"
say "User Mode Linux"
if ! (cd "$T/uml" && apt-get -q -o APT::Sandbox::User=root download user-mode-linux) >>"$T/log" 2>&1; then
    # a machine that was never asked for its packages has no list of them
    apt-get -qq update >>"$T/log" 2>&1 || true
    (cd "$T/uml" && apt-get -q -o APT::Sandbox::User=root download user-mode-linux) >>"$T/log" 2>&1 ||
        { tail -n 5 "$T/log" >&2; die "no package user-mode-linux"; }
fi
dpkg-deb -x "$T"/uml/user-mode-linux_*.deb "$T/uml"
install -m 755 "$T/uml/usr/bin/linux.uml" "$T/linux.uml"

say "mmdebstrap $SUITE"
pkgs=systemd-sysv,udev,dbus,openssh-server,sudo,iproute2,iptables,iputils-ping,procps
pkgs+=,kmod,netbase,ca-certificates,less,cron,tcpdump,apparmor
bootstrap "$SUITE" "$R" "$pkgs" "$T/log"

# The mounts below end with this namespace, whatever happens.
say "packages"
export -f download localrepo accounts die
export T R STARTER_PKGS SWANCTL_PKGS OTHER_PKGS
unshare -m --propagation private bash -euo pipefail -c '
    mount -t proc proc "$R/proc"
    mount --bind /dev "$R/dev"
    download "$R" "$R/srv/aptrepo" "$T/log"
    localrepo "$R"
    accounts "$R"
'
mkdir -p "$R/lib/modules"
mv "$T"/uml/usr/lib/uml/modules/* "$R/lib/modules/"
for k in "$R"/lib/modules/*; do chroot "$R" depmod -a "${k##*/}"; done
# this kernel has no nf_tables
for t in iptables ip6tables; do chroot "$R" update-alternatives --quiet --set $t /usr/sbin/$t-legacy; done
# No fstab line for /: systemd would wait for udev to announce the disk.
: >"$R/etc/fstab"

cat >"$R/usr/local/sbin/lab-init" <<'E'
#!/bin/sh
# Become the host that the second disk tells of: its files at the first boot,
# its addresses at every one.
if [ ! -e /etc/lab.net ]; then
    tar -xf /dev/ubdb -C /
fi
cat /etc/hostname >/proc/sys/kernel/hostname
ip -b /etc/lab.net
E
chmod 755 "$R/usr/local/sbin/lab-init"
cat >"$R/etc/systemd/system/lab-init.service" <<'E'
[Unit]
Description=Lab: host name, keys, addresses
DefaultDependencies=no
After=local-fs.target systemd-sysctl.service
Before=network.target network-online.target ssh.service sysinit.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-init
[Install]
WantedBy=sysinit.target
E
chroot "$R" systemctl -q enable lab-init.service
# What has nothing to do here, or waits for hardware. udev's coldplug alone takes
# 7 s; kernel modules load on demand without it.
for u in systemd-networkd.service systemd-networkd-wait-online.service systemd-resolved.service \
    systemd-timesyncd.service systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_reap.service e2scrub_all.timer fstrim.timer dpkg-db-backup.timer \
    serial-getty@.service getty@.service console-getty.service systemd-udevd.service \
    systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \
    systemd-udev-settle.service systemd-logind.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount systemd-pstore.service modprobe@configfs.service \
    modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service \
    modprobe@fuse.service modprobe@loop.service sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    dev-hugepages.mount dev-mqueue.mount systemd-tmpfiles-clean.timer; do
    ln -sf /dev/null "$R/etc/systemd/system/$u"
done
chroot "$R" systemctl -q set-default multi-user.target

image() { mke2fs -q -t ext4 -O ^has_journal -m 0 -L lab -d "$R" "$T/$1.ext4" 1500M >>"$T/log"; }   # sparse; what it says is no answer of this script
say "bare.ext4"
image bare
say "starter.ext4"
export -f aptin
unshare -m --propagation private bash -euo pipefail -c '
    mount -t proc proc "$R/proc"
    mount --bind /dev "$R/dev"
    aptin "$R" update
    # shellcheck disable=SC2086
    aptin "$R" install $STARTER_PKGS
    rm -rf "$R"/var/cache/apt/*.bin
' >>"$T/log" 2>&1 || { tail -n 5 "$T/log" >&2; die "installing the VPN packages"; }
image starter

rm -rf "$R" "$T/uml"
mv "$T" "$D"
say "$(du -sm "$D" | cut -f1) MiB"
echo "$D"
