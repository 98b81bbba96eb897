#!/bin/bash
# setup.sh [race|browser]    install the Debian packages that the tests and the lab use;
#                            race: those that the race detector needs; browser: one,
#                            for the page that export writes
#
# Installs only what is missing, and says so. Does nothing where apt-get is not
# there or the caller is not root: the tests then skip, with the reason, what
# cannot run. Starts no service.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# command:package
want=(
    ssh:openssh-client sshd:openssh-server ip:iproute2 iptables:iptables
    ping:iputils-ping sudo:sudo dash:dash busybox:busybox shellcheck:shellcheck
    unshare:util-linux ps:procps tcpdump:tcpdump
    mmdebstrap:mmdebstrap dpkg-scanpackages:dpkg-dev mke2fs:e2fsprogs
    spin:spin
)
PATH=$PATH:/usr/sbin:/sbin
pkgs=()
c=
case ${1-} in
race) want=() c=yes ;;                          # it is linked by a C compiler
browser) want=(chromium:chromium) ;;
*) c=yes ;;                                     # the models (../model), vm/xstate.c
esac
if [ "$c" ]; then
    want+=(gcc:gcc)
    [ -e /usr/include/stdlib.h ] || pkgs+=(libc6-dev)   # its headers
fi
for w in "${want[@]}"; do
    command -v "${w%%:*}" >/dev/null || pkgs+=("${w#*:}")
done
[ ${#pkgs[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup.sh: missing and not installed (needs root and apt-get): ${pkgs[*]}" >&2
    exit 0
fi

echo "setup.sh: installing ${pkgs[*]}" >&2
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then   # an sshd that is installed must not be started
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
log=$(mktemp)
if ! { "${apt[@]}" install --no-install-recommends "${pkgs[@]}" ||
    { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${pkgs[@]}"; }; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
fi
rm -f "$log"
