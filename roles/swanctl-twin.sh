# shellcheck shell=sh
# What a rehearsal needs of swanctl besides its part of an apply script.

# swanctl_bare: of what this host itself has for strongSwan no conn and no key is left, in
# a copy of it that is to be another's. Keys in starter's files reach this charon, too.
swanctl_bare() {
    starter_bare
    find /etc/swanctl -type f -delete 2>/dev/null || :
    echo 'include conf.d/*.conf' >/etc/swanctl/swanctl.conf
}

# swanctl_about: which strongSwan it is, and what it has loaded
swanctl_about() {
    if [ "${rc:-1}" -eq 0 ]; then swanctl --version | head -n 1; swanctl --stats 2>/dev/null | grep '^loaded plugins: ' || :; fi
}
