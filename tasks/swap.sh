# shellcheck shell=sh
# The part of an apply script that puts one strongSwan daemon into the place of another.
# Their packages may not be installable beside each other: what is to come, and what would
# bring back what goes, is fetched before anything is changed, so neither needs a network.

swap_rc=/usr/sbin/policy-rc.d

# swap_apt ARG...: apt-get, which waits for another one
swap_apt() {
    apt-get -qq -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        -o APT::Sandbox::User=root "$@" 9>&-
}

# swap_fetch OLD PACKAGE...: the files of PACKAGE... are here, and of what goes for them
swap_fetch() {
    old=$1; shift
    at "packages: $*"
    for n in 1 2; do
        if apt-get -s -y install "$@" >"$txn/apt"; then break; fi
        [ "$n" -eq 1 ] || { cat "$txn/apt"; return 1; }
        apt-get -qq -o DPkg::Lock::Timeout=120 update || :
    done
    sed -n 's/^Remv \([^ ]*\) \[\([^]]*\)\].*/\1=\2/p' "$txn/apt" >"$txn/swapped"
    # that would have to go back, too
    if grep '^Inst [^ ]* \[' "$txn/apt"; then echo "apt would upgrade them first: upgrade the host (apt-get upgrade), and apply again"; return 1; fi
    if grep -v "^$old=" "$txn/swapped"; then echo "apt would remove that to install $*"; return 1; fi
    mkdir -p -- "$txn/debs/new" "$txn/debs/old"
    # shellcheck disable=SC2046 # words
    swap_download "$txn/debs/new" $(sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' "$txn/apt")
    # shellcheck disable=SC2046 # words
    swap_download "$txn/debs/old" $(cat "$txn/swapped") || {
        echo "what is installed cannot be fetched any more for the way back: upgrade the host (apt-get upgrade), and apply again"
        return 1
    }
    rm -f -- "$txn/apt"
}
swap_download() {
    dir=$1; shift
    [ $# -eq 0 ] || (cd "$dir" && swap_apt download "$@")
}

# swap_unpack: in a trial, what was fetched is there as if it were installed
swap_unpack() {
    mkdir -p /run/over/new /run/over/usr /run/over/work
    mount -t overlay overlay -o lowerdir=/usr,upperdir=/run/over/usr,workdir=/run/over/work /usr
    for deb in "$txn"/debs/new/*.deb; do
        [ -e "$deb" ] || continue
        dpkg-deb -x "$deb" /run/over/new
    done
    for dir in /run/over/new/*; do
        if [ "$dir" = /run/over/new/etc ]; then cp -an "$dir/." /etc; else cp -a "$dir/." "/${dir##*/}/"; fi
    done
}

# swap_install DIR [OPTION...]: the packages there; none of them starts or stops a service
swap_install() {
    debs=$1; shift
    if [ ! -e "$swap_rc" ]; then printf '#!/bin/sh\n# vpnpush: for as long as it swaps packages\nexit 101\n' | put "$swap_rc" 0755 root:root; fi
    swap_apt "$@" install "$debs"/*.deb
    swap_start_again
}
# swap_start_again: packages start their services again. By the shell alone: a program that
# fails must not pass for "this is not ours", since none would be started any more.
swap_start_again() {
    [ -f "$swap_rc" ] || return 0
    { IFS= read -r _ && IFS= read -r second; } <"$swap_rc" || return 0
    case $second in '# vpnpush:'*) rm -f -- "$swap_rc" ;; esac
}

# swap_over OLD-UNIT UNIT PACKAGE...: UNIT runs in the place of OLD-UNIT
swap_over() {
    from=$1 to=$2; shift 2
    systemctl --quiet disable "$from" 2>/dev/null || :
    if [ $# -gt 0 ]; then
        swap_install "$txn/debs/new"
        # its own start has come with all of its plugins
        systemctl daemon-reload
    fi
    # from here on until the next one runs there is no tunnel
    systemctl stop "$from"
    systemctl --quiet enable "$to"
    systemctl start "$to" || { unit_log "$to"; return 1; }
    systemctl reset-failed "$from" 2>/dev/null || :
}

# swap_undo: the packages that went are there again. What dpkg was stopped in the middle of,
# by a full disk or a power cut, keeps apt from anything that does not mend it.
swap_undo() {
    dpkg --force-confdef --force-confold --configure -a 9>&- || :
    swap_install "$txn/debs/old" --fix-broken
}

# swap_files_back OLD-UNIT UNIT NEW: the packages are as they were, and who is to run at
# the next boot; NEW, unless empty: UNIT was not there before
swap_files_back() {
    if [ -s "$txn/swapped" ]; then
        while IFS='=' read -r p _; do
            if ! dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed; then swap_undo; break; fi
        done <"$txn/swapped"
        systemctl daemon-reload
    fi
    swap_start_again
    if [ -n "$3" ]; then disabled "$2" 2>/dev/null || :; fi
    enabled "$1"
}

# swap_back OLD-UNIT UNIT NEW
swap_back() {
    if [ -n "$3" ]; then systemctl stop "$2" 2>/dev/null || :; fi
    systemctl restart "$1" || { unit_log "$1"; return 1; }
}
