# rootfs.sh: what ns/build.sh and vm/build.sh share (sourced, bash)
# shellcheck shell=bash disable=SC2034

# sources SUITE: this machine's apt sources, for another suite. Debian 11 is had
# as its last point release: mirrors still list security updates of it whose
# files they no longer serve.
sources() {
    local f host entry=$'\n'; host=$(. /etc/os-release && echo "$VERSION_CODENAME")
    for f in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        [ -s "$f" ] || continue
        [ "${f##*.}" = list ] || entry=''        # paragraphs
        sed "s/\b$host\b/$1/g" "$f" | awk -v RS="$entry" -v ORS='\n\n' '!/(^|[^#])bullseye-security/'
        return
    done
    die "no apt sources in /etc/apt"
}

# unserved LOG WHAT: end a build since the mirror did not give WHAT (check.sh knows
# the code)
unserved() { tail -n 5 "$1" >&2; echo "${0##*/}: the mirror does not give $2" >&2; exit 3; }

# bootstrap SUITE ROOT PACKAGE,... LOG: a minimal Debian, its apt lists kept
bootstrap() {
    sources "$1" | mmdebstrap --quiet --mode=root --variant=minbase --format=directory --include="$3" \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --skip=cleanup/apt/lists --skip=cleanup/apt/cache \
        "$1" "$2" - >>"$4" 2>&1 || unserved "$4" "$1"
    : >"$2/etc/default/locale"      # else pam_env complains at every login
    : >"$2/etc/machine-id"          # the first boot makes one
}

# accounts ROOT: the users of every lab host: root and admin by key (admin with
# sudo that does not ask), pwadmin by key or password "lab" (sudo asks for it)
accounts() {
    # * as root has it: to an sshd without PAM an account with ! is locked
    chroot "$1" useradd -m -s /bin/bash -p '*' admin
    chroot "$1" useradd -m -s /bin/bash pwadmin
    echo pwadmin:lab | chroot "$1" chpasswd
    printf 'admin ALL=(ALL:ALL) NOPASSWD: ALL\npwadmin ALL=(ALL:ALL) ALL\n' >"$1/etc/sudoers.d/lab"
    chmod 440 "$1/etc/sudoers.d/lab"
    mkdir -p "$1/etc/ssh/sshd_config.d"
    printf 'PermitRootLogin prohibit-password\nUseDNS no\n' >"$1/etc/ssh/sshd_config.d/lab.conf"
    rm -f "$1"/etc/ssh/ssh_host_*
}

# localrepo ROOT: from here on ROOT's apt knows only /srv/aptrepo, and has no
# lists yet, as on a fresh cloud image
localrepo() {
    rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap \
        "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb
    mkdir -p "$1/srv/aptrepo" "$1/var/lib/apt/lists/partial"
    echo 'deb [trusted=yes] file:/srv/aptrepo ./' >"$1/etc/apt/sources.list.d/lab.list"
}

# What `apt-get install` can install on a lab host; the sets conflict with each
# other and are downloaded one by one.
COMMON_PKGS="strongswan-pki libstrongswan-standard-plugins libcharon-extra-plugins libcharon-extauth-plugins
    xl2tpd ppp iptables-persistent netfilter-persistent"
STARTER_PKGS="strongswan strongswan-starter $COMMON_PKGS"
SWANCTL_PKGS="strongswan-swanctl charon-systemd $COMMON_PKGS"
OTHER_PKGS="--no-install-recommends libreswan"

# fetch ROOT LOG PACKAGE...: download packages and what they need into the cache of
# ROOT's apt. ROOT still has the sources it was made from.
fetch() {
    local root=$1 log=$2; shift 2
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" apt-get -q -y -o APT::Sandbox::User=root -o APT::Install-Recommends=true \
        -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false \
        install --download-only "$@" >>"$log" 2>&1 || unserved "$log" "$*"
    rm -f "$root/etc/resolv.conf"
}

# download ROOT DIR LOG: fetch the packages of all sets into DIR and index it
download() {
    local root=$1 dir=$2 log=$3 set
    rm -f "$root"/var/cache/apt/archives/*.deb     # what the base was made of
    for set in "$STARTER_PKGS" "$SWANCTL_PKGS" "$OTHER_PKGS"; do
        # shellcheck disable=SC2086
        fetch "$root" "$log" $set
    done
    mkdir -p "$dir"
    cp "$root"/var/cache/apt/archives/*.deb "$dir"
    (cd "$dir" && dpkg-scanpackages -m . >Packages 2>/dev/null)
}

# aptin ROOT ARG...: apt-get in ROOT, starting nothing
aptin() {
    local root=$1; shift
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o APT::Sandbox::User=root \
        -o Dpkg::Use-Pty=0 "$@"
    rm -f "$root/usr/sbin/policy-rc.d"
}

# layer NAME PACKAGE...: T/NAME, the upper directory of an overlay on R in which the
# packages were installed from the repository just made. A function image, if there
# is one, is run with NAME and where the whole of it is mounted.
layer() {
    say "layer $1"
    mkdir -p "$T/$1" "$T/work" "$T/mnt"
    unshare -m --propagation private bash -euo pipefail -c '
        m=$T/mnt l=$1; shift
        mount -t overlay overlay -o "lowerdir=$R,upperdir=$T/$l,workdir=$T/work" "$m"
        mount -t proc proc "$m/proc"
        mount --bind /dev "$m/dev"
        [ ! -d "$T/repo" ] || mount --bind "$T/repo" "$m/srv/aptrepo"
        aptin "$m" update
        aptin "$m" install "$@"
        rm -rf "$m"/var/cache/apt/*.bin
        umount "$m/proc" "$m/dev"
        ! declare -F image >/dev/null || image "$l" "$m"
    ' layer "$@" >>"$T/log" 2>&1 || { tail -n 5 "$T/log" >&2; die "layer $1"; }
    rm -rf "${T:?}"/{work,mnt}
}
