# shellcheck shell=sh
# The part that every rehearsal has. It is no apply: all of it runs in namespaces of its
# own, on copies in memory, and the host sees nothing of it. The kernel ends it with the
# program that began it, and nothing of it is left then.
#
#   stage      the internet between the twins, with a NAT for each site; starts them
#   twin 0     the hub, as it would be applied
#   twin N     the Nth site
#
# /tmp is memory that they share. What is found is told in lines: who, what, and words,
# with tabs between.

export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
state=/var/lib/vpnpush
txn=/run/trial # where steps put what they work on

at() { :; }
warn() { :; }

# now: hundredths of a second, by a clock that nobody sets
now() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}"; }

# until_there SECONDS PID FILE: FILE is there; not, once PID has ended or the time is up.
# Who asked for all this is told that it goes on: where nobody listens any more, it ends.
until_there() {
    end=$(($(now) + $1 * 100)) told=$(now)
    until [ -e "$3" ]; do
        if [ "$(now)" -ge "$end" ] || ! kill -0 "$2" 2>/dev/null; then break; fi
        if [ "$(now)" -ge "$((told + 100))" ]; then echo tick || exit 1; told=$(now); fi
        sleep 0.1
    done
    [ -e "$3" ]
}

# connect TWIN ADDRESS SUBNETS: its network, with a line to the internet
connect() {
    ip netns add "t$1"
    ip link add "t$1" type veth peer name eth0 netns "t$1"
    ip addr add "$gate/32" dev "t$1"
    ip link set "t$1" up
    ip route add "$2/32" dev "t$1"
    ip -n "t$1" link set lo up
    ip -n "t$1" addr add "$2/32" dev eth0
    ip -n "t$1" link set eth0 up
    ip -n "t$1" route add "$gate/32" dev eth0
    ip -n "t$1" route add default via "$gate" src "$2"
    for a in $3; do ip -n "t$1" addr add "$a/32" dev lo 2>/dev/null || :; done
}

# begin TWIN: it runs, in namespaces of its own
begin() {
    ip netns exec "t$1" unshare --mount --pid --fork --kill-child --mount-proc -- \
        /bin/sh "$0" twin "$1" >"/tmp/said.$1" 2>&1 </dev/null &
}

stage() {
    set -eu
    gate=169.254.255.254
    echo 1 >/proc/sys/net/ipv4/ip_forward
    for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >"$f"; done
    mount -t tmpfs tmpfs /run
    ip link set lo up
    connect 0 "$hub_local" "$hub_inside"
    printf 'stage\thas\t\n'
    # an SA that leads nowhere, with a key that is none
    if ! ip -n t0 xfrm state add src "$hub_local" dst "$gate" proto esp spi 0x1000 mode tunnel \
        auth 'hmac(sha256)' 0x0000000000000000000000000000000000000000000000000000000000000000 \
        enc 'cbc(aes)' 0x00000000000000000000000000000000 2>/tmp/xfrm; then
        if ! ls /usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so >/dev/null 2>&1 || [ ! -e /dev/net/tun ]; then
            printf 'stage\tcannot\tthe kernel has no IPsec (%s), and strongSwan not its own (kernel-libipsec, in libcharon-extra-plugins)\n' "$(head -n 1 /tmp/xfrm)"
            exit 0
        fi
        : >/tmp/userspace
    fi
    if ! iptables -w -t nat -L -n >/dev/null 2>/tmp/nat; then
        printf 'stage\tnonat\t%s\n' "$(head -n 1 /tmp/nat)"
        : >/tmp/nonat
    elif [ "$hub_public" != "$hub_local" ]; then
        iptables -w -t nat -A PREROUTING -d "$hub_public" -j DNAT --to-destination "$hub_local"
        ip route add "$hub_public/32" dev t0
    fi
    begin 0
    hub=$!
    if ! until_there 90 "$hub" /tmp/ready.0; then
        printf 'stage\tcannot\tstrongSwan did not start in the twin of the hub\n'
        sed 's/^/0	said	/' /tmp/said.0
        exit 0
    fi
    n=1
    while [ "$n" -le "$sites" ]; do
        last=$((n + 3))
        [ "$last" -le "$sites" ] || last=$sites
        four "$n" "$last"
        n=$((last + 1))
    done
    : >/tmp/over
    if until_there 10 "$hub" /tmp/log.0; then sed 's/^/0	log	/' /tmp/log.0; fi
    printf 'stage\tend\t\n'
}

# four FIRST LAST: these sites are tried side by side, and what was found is told
four() {
    for n in $(seq "$1" "$2"); do
        site "$n"
        connect "$n" "$own" "$inside"
        if [ ! -e /tmp/nonat ]; then iptables -w -t nat -A POSTROUTING -s "$own" -o t0 -j SNAT --to-source "$outside"; fi
        begin "$n"
        echo "$!" >"/tmp/pid.$n"
    done
    for n in $(seq "$1" "$2"); do
        if until_there 150 "$(cat "/tmp/pid.$n")" "/tmp/found.$n"; then cat "/tmp/found.$n"; else sed "s/^/$n	said	/" "/tmp/said.$n"; fi
    done
    # while they stand
    rm -f /tmp/answer
    : >/tmp/ask
    if until_there 20 "$hub" /tmp/answer; then cat /tmp/answer; fi
    printf 'stage\tfour\t\n'
    for n in $(seq "$1" "$2"); do
        : >"/tmp/over.$n"
        wait "$(cat "/tmp/pid.$n")" || :
        site "$n"
        ip netns del "t$n"
        ip route del "$own/32" 2>/dev/null || :
    done
}

# twin N: strongSwan runs as it would on that host
twin() {
    set -eu
    if [ ! -d "$state" ]; then # nothing was applied yet
        mount -t tmpfs tmpfs "${state%/*}"
        mkdir "$state"
    fi
    on_copy
    if [ "$1" != 0 ]; then "${daemon}_bare"; fi
    write "$1" >/dev/null
    if [ -e /tmp/userspace ]; then userspace; fi
    logged
    began=$(now)
    "${daemon}_own"
    if [ -z "$("${daemon}_about")" ]; then
        echo "strongSwan does not run"
        grep -h -i -e fail -e error -e invalid -e unknown /run/trial/* /run/charon.log 2>/dev/null | grep -v "^plugin '" | head -n 20 || :
        exit 1
    fi
    if [ "$1" = 0 ]; then stand; else call "$1"; fi
}

# logged: charon logs where AppArmor lets it, which conns it weighs and why it takes none, too
logged() {
    mkdir -p /etc/strongswan.d
    cat >/etc/strongswan.d/zz-vpnpush-rehearsal.conf <<'EOT'
charon {
    filelog {
        vpnpush {
            path = /run/charon.log
            default = 1
            cfg = 2
            flush_line = yes
        }
    }
}
EOT
}

# userspace: strongSwan does without the kernel's IPsec. The marks keep its own packets out
# of a tunnel whose networks hold the peer itself.
userspace() {
    mkdir -p /etc/strongswan.d
    cat >/etc/strongswan.d/zz-vpnpush-userspace.conf <<'EOT'
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
EOT
}

# stand: the hub waits for calls, and tells how it stands when it is asked
stand() {
    : >/tmp/ready.0
    until [ -e /tmp/over ]; do
        if [ -e /tmp/ask ]; then
            rm -f /tmp/ask
            listing 0 >/tmp/answer.new
            mv -f /tmp/answer.new /tmp/answer
        fi
        sleep 0.1
    done
    # each call is weighed against all conns
    grep -v '\[CFG\]   candidate: ' /run/charon.log >/tmp/log.new || :
    mv -f /tmp/log.new /tmp/log.0
}

# call N: the site dials by itself. It is looked at until it is up, charon has left it at
# that, or 40 s are over.
call() {
    site "$1"
    idle=0
    while :; do
        how=$("${daemon}_state" "$conn")
        t=$(($(now) - began))
        case $how in
        up) break ;;
        none | bare) idle=$((idle + 1)); [ "$idle" -lt 15 ] || break ;;
        *) idle=0 ;;
        esac
        [ "$t" -lt 4000 ] || break
        sleep 0.2
    done
    {
        printf '%s\tafter\t%s\n' "$1" "$t"
        listing "$1"
        sed "s/^/$1	log	/" /run/charon.log
    } >"/tmp/found.$1.new"
    mv -f "/tmp/found.$1.new" "/tmp/found.$1"
    until [ -e "/tmp/over.$1" ]; do sleep 0.1; done
}

# ask N NAME SHELL: what SHELL prints, and how it ends
ask() {
    x=0
    eval "$3" >/run/trial/out 2>/run/trial/err || x=$?
    printf '%s\tstatus\t%s\t%s\n' "$1" "$2" "$x"
    sed "s/^/$1	out	$2	/" /run/trial/out
    sed "s/^/$1	err	$2	/" /run/trial/err
}

main() {
    case ${1-} in
    stage) stage ;;
    twin) twin "$2" ;;
    esac
}
