# shellcheck shell=sh
# What a rehearsal needs of starter besides its part of an apply script.

# starter_bare: of what this host itself has for strongSwan no conn and no key is left, in
# a copy of it that is to be another's
starter_bare() {
    rm -f /etc/ipsec.conf /etc/ipsec.secrets
    find /etc/ipsec.d -type f -delete 2>/dev/null || :
}

# starter_about: which strongSwan it is, and what it has loaded
starter_about() { ipsec statusall 2>/dev/null | sed -n -e '1s/^Status of //p' -e 's/^ *\(loaded plugins: \)/\1/p'; }
