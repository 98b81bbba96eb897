# shellcheck shell=sh
# The part of an apply script that installs packages.

packages='' installed=''

# install_packages: those that the steps before have named in $packages
install_packages() {
    [ -n "$packages" ] || return 0
    at "packages:$packages"
    # never take a package away to make room for one of ours
    # shellcheck disable=SC2086
    set -- -qq -y --no-remove -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install $packages
    # lists that are too old, or a dpkg that was cut short; no && here: set -e does not
    # see what fails before one
    apt-get "$@" || { dpkg --configure -a; apt-get -qq -o DPkg::Lock::Timeout=120 update || :; apt-get "$@"; }
    # shellcheck disable=SC2034 # the parts below look at it
    installed=$packages
}
