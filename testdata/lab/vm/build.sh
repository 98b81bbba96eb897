#!/bin/bash
# vm/build.sh [SUITE]    build what the true lab's machines boot from
#
# Prints the directory it built, or found built:
#   linux.uml      User Mode Linux: SUITE's kernel for it, unpacked, not installed
#   lib/           the C library that it needs, where this machine's is too old
#   bare.ext4      bare Debian server; apt-get installs the VPN packages from the
#                  repository in it, /srv/aptrepo
#   starter.ext4   the same with strongSwan, xl2tpd and iptables-persistent installed
#   swanctl.ext4   the same with charon-systemd and swanctl in place of starter
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
mkdir -p "$T"
say "mmdebstrap $SUITE"
pkgs=systemd-sysv,udev,dbus,openssh-server,sudo,iproute2,iptables,iputils-ping,procps
pkgs+=,kmod,netbase,ca-certificates,less,cron,tcpdump,apparmor
bootstrap "$SUITE" "$R" "$pkgs" "$T/log"

# uml: the kernel and its modules. The package has a libc of its suite's age.
uml() {
    local lib=lib/x86_64-linux-gnu
    fetch "$R" "$T/log" --no-install-recommends user-mode-linux
    dpkg-deb -x "$R"/var/cache/apt/archives/user-mode-linux_*.deb "$T/uml"
    mv "$T/uml/usr/bin/linux.uml" "$T"
    mkdir -p "$R/lib/modules"
    mv "$T"/uml/usr/lib/uml/modules/* "$R/lib/modules/"
    "$T/linux.uml" --version >/dev/null 2>&1 || install -D -t "$T/lib" "$R/$lib/libc.so.6" "$R/lib64/ld-linux-x86-64.so.2"
}

# The mounts below end with this namespace, whatever happens.
say "packages"
export -f uml download fetch unserved aptin localrepo accounts
export T R STARTER_PKGS SWANCTL_PKGS OTHER_PKGS
unshare -m --propagation private bash -euo pipefail -c '
    mount -t proc proc "$R/proc"
    mount --bind /dev "$R/dev"
    uml
    download "$R" "$R/srv/aptrepo" "$T/log"
    localrepo "$R"
    accounts "$R"
'
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
chroot "$R" systemctl -q enable lab-init.service 2>>"$T/log"
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
# Debian 13's AppArmor has a hundred profiles of programs that are not here, and
# compiles them at the first boot, which takes longer than the rest of it.
for f in "$R"/etc/apparmor.d/*; do
    case ${f##*/} in
    usr.* | unix-chkpwd | unprivileged_userns) ;;
    *) [ -d "$f" ] || rm "$f" ;;
    esac
done
chroot "$R" systemctl -q set-default multi-user.target 2>>"$T/log"

# image NAME ROOT: NAME.ext4, sparse; what mke2fs says is no answer of this script. What
# systemd has a first boot do after an update, the linker's cache and its own catalog,
# is as it should be already.
image() {
    touch -r "$2/usr" "$2/etc/.updated" "$2/var/.updated"
    mke2fs -q -t ext4 -O ^has_journal -m 0 -L lab -d "$2" "$T/$1.ext4" 1500M >>"$T/log"
}
say "bare.ext4"
image bare "$R"
export -f image
# shellcheck disable=SC2086
layer starter $STARTER_PKGS
# shellcheck disable=SC2086
layer swanctl $SWANCTL_PKGS

rm -rf "$R" "$T"/{uml,starter,swanctl}
mv "$T" "$D"
say "$(du -sm "$D" | cut -f1) MiB"
echo "$D"
