#!/bin/bash
# peers.sh [PART...]    vpnpush beside OpenSSH and Ansible: a hub and 19 sites, real
#                       Debian hosts with systemd in the fast lab, the same desired
#                       state for all of them. Prints the tables of docs/speed.md.
#
#   PART    vpnpush     plan, apply with nothing to do, apply of one new key; in turns
#                       with as many parallel `ssh host true`
#           latency     a plan of one site against a cold `ssh host true`, by round trip
#           pipelining  the same three by ansible-core with pipelining
#           mitogen     by ansible-core with Mitogen
#           plain       by ansible-core as it comes
#           table       nothing new, only the tables
#
# None: all, some 13 minutes on a quiet machine. Each run is noted in $PEERS_RESULTS
# (default ~/.cache/vpnpush-lab/peers/results), so that a part that is run again takes
# the place of its own rows and leaves the others. What Ansible's side wants is
# installed: ansible-core and ansible-mitogen here, python3 and python3-apt in the
# hosts, none of which has an effect on vpnpush. What is missing is told, and in the table.
#
# Processor time is that of cgroups: all processes of the client, ssh and its masters
# too, and all of the hosts. Every run begins cold, without a connection.
#
#   RUNS=N    how often vpnpush and ssh run (default 7); Ansible runs once, it is long
#   SITES=N   to try it out with fewer hosts
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
ROOT=$(realpath "$HERE/../..")
# shellcheck source=/dev/null
. "$ROOT/testdata/lab/common.sh"
# shellcheck source=/dev/null
. "$ROOT/testdata/lab/rootfs.sh"
export LC_ALL=C.UTF-8    # Ansible refuses C
UP=$ROOT/testdata/lab/up.sh DOWN=$ROOT/testdata/lab/down.sh IN=$ROOT/testdata/lab/in.sh
RESULTS=${PEERS_RESULTS:-$CACHE/peers/results}
RUNS=${RUNS:-7} SITES=${SITES:-19}
HOSTS=$((SITES + 1))
[ $# -gt 0 ] || { rm -f "$RESULTS"; set -- vpnpush latency pipelining mitogen plain; }
mkdir -p "$(dirname "$RESULTS")"
touch "$RESULTS"
LAB=
W=$(mktemp -d)
trap 'lab_down; rm -rf "$W"' EXIT

# note KEY VALUE...: a line of the results, in the place of the one with that key
note() {
    local IFS=$'\t'
    awk -F '\t' -v k="$1" '$1 != k' "$RESULTS" >"$W/results"
    echo "$*" >>"$W/results"
    cp "$W/results" "$RESULTS"
}

lab_down() { [ -z "$LAB" ] || "$DOWN" "$LAB" >/dev/null 2>&1 || :; LAB=; }

# python: the hosts' layer with python3 and python3-apt on it, once. The lab takes it for
# its own: a cache of its own holds the same base.
python() {
    local art; art=$("$ROOT/testdata/lab/ns/build.sh" bookworm)
    local D=$CACHE/peers/ns/${art##*/} list
    if [ ! -d "$D" ]; then
        say "python3 for the hosts"
        T=$D.tmp R=$art/base
        rm -rf "$T"
        mkdir -p "$T"
        ln -s "$art/base" "$art/repo" "$T"
        cp -a "$art/starter" "$T/starter"
        list=$T/starter/etc/apt/sources.list.d
        mkdir -p "$list"
        sources bookworm >"$list/peers.sources"
        ! grep -q '^deb ' "$list/peers.sources" || mv "$list/peers.sources" "$list/peers.list"
        cp -L /etc/resolv.conf "$T/starter/etc/resolv.conf"
        export T R
        export -f aptin
        layer starter --no-install-recommends python3 python3-apt
        rm -f "$list"/peers.* "$T"/starter/etc/resolv.conf "$T"/starter/var/cache/apt/archives/*.deb
        find "$T/starter/var/lib/apt/lists" -maxdepth 1 -type f ! -name '*aptrepo*' -delete
        mv "$T" "$D"
    fi
}

# lab: a new lab of all hosts, sites with their LAN on lo
lab() {
    local i hosts=(vps=hub:bookworm:starter)
    lab_down
    LAB=$(mktemp -d "$W/lab.XXXX")
    say "a lab of $HOSTS hosts"
    for ((i = 1; i <= SITES; i++)); do hosts+=("n$i=e$i:bookworm:starter"); done
    "$UP" "$LAB" "${hosts[@]}"
    for ((i = 1; i <= SITES; i++)); do "$IN" "$LAB" ip -n "n$i" addr add "172.16.$i.1/24" dev lo; done
    CG=$LAB/cg/vpnpush-lab-$(cat "$LAB/id")
    mkdir "$LAB/home"
    inventory first >"$LAB/inventory.toml"
    chmod 600 "$LAB/inventory.toml"
}

# inventory WORD: WORD is in the key of the first site
inventory() {
    local i
    cat <<I
id = "lab"
[hub]
name = "vps"
address = "203.0.113.10"
subnets = ["10.10.0.0/24"]
ssh.host = "vps"
I
    for ((i = 1; i <= SITES; i++)); do
        printf '[sites.n%d]\nsubnets = ["172.16.%d.0/24"]\npsk = "key-of-n%d-%s-0123456789abcdef"\n' "$i" "$i" "$i" "$1"
        set -- always
    done
}

# Counts are read in the lab: processor time (us) of the client and of the hosts, bytes
# through control's wire, connections that were opened. What a host still does after the
# client has ended belongs to the run, so they are read a moment later.
# shellcheck disable=SC2016
measure='
counts() {
    sed -n "s/^usage_usec //p" "$CG/client/cpu.stat"
    cat "$CG"/vps/cpu.stat "$CG"/n*/cpu.stat | awk "/^usage_usec/ { n += \$2 } END { printf \"%d\n\", n }"
    awk "/br-wan:/ { print \$2 + \$10 }" /proc/self/net/dev
    awk "\$1 == \"Tcp:\" && \$2 + 0 { print \$6 }" /proc/self/net/snmp
}
mkdir -p "$CG/client"
before=($(counts))
start=$EPOCHREALTIME
( echo $BASHPID >"$CG/client/cgroup.procs"; exec "$@" ) >"$OUT" 2>&1 || rc=$?
end=$EPOCHREALTIME
for p in $(<"$CG/client/cgroup.procs"); do kill "$p"; done 2>/dev/null   # masters of ssh
sleep 0.3
after=($(counts))
echo "$(( (${end/./} - ${start/./}) )) $((after[0] - before[0])) $((after[1] - before[1])) $((after[2] - before[2])) $((after[3] - before[3]))"
exit "${rc:-0}"
'

# run WHO WHAT CMD...: CMD in control, and a row of the results
N=0
run() {
    local who=$1 what=$2 row
    shift 2
    N=$((N + 1))
    row=$(CG=$CG OUT=$W/out HOME=$LAB/home ANSIBLE_SSH_CONTROL_PATH_DIR=$LAB/home/cp$N \
        VPNPUSH_SSH_CONFIG=$LAB/ssh_config "$IN" "$LAB" bash -c "$measure" measure "$@") || {
        echo "peers.sh: $who, $what: failed" >&2
        tail -n 30 "$W/out" >&2
        return 1
    }
    # shellcheck disable=SC2086
    note "$who/$what/$N" $row
    say "$who, $what: $(awk '{ printf "%.2f s, client %.3f s, hosts %.1f s", $1 / 1e6, $2 / 1e6, $3 / 1e6 }' <<<"$row")"
}

# forget WHO...: rows of earlier runs
forget() {
    local who
    for who; do
        sed -i "\\|^$who/|d" "$RESULTS"
    done
}

v() { local what=$1; shift; run vpnpush "$what" "$W/vpnpush" -i "$LAB/inventory.toml" --forks "$HOSTS" "$@"; }

up() {
    local n=0 t
    for ((t = 0; t < 60; t++)); do
        n=$("$IN" "$LAB" @vps ipsec status | grep -c INSTALLED || :)
        [ "$n" -lt "$SITES" ] || return 0
        sleep 0.5
    done
    echo "peers.sh: $n of $SITES tunnels are up" >&2
    return 1
}

vpnpush_lab() {
    lab || return
    "$IN" "$LAB" env HOME="$LAB/home" VPNPUSH_SSH_CONFIG="$LAB/ssh_config" "$W/vpnpush" -i "$LAB/inventory.toml" apply --yes --forks "$HOSTS" >"$W/out" 2>&1 ||
        { tail -n 30 "$W/out" >&2; return 1; }
    up || return
    CONVERGED=vpnpush
}

part_vpnpush() {
    local i names
    forget vpnpush ssh
    [ "$CONVERGED" = vpnpush ] || vpnpush_lab || return
    names=$(cut -d ' ' -f 1 "$LAB/hosts" | tr '\n' ' ')
    for ((i = 0; i < RUNS; i++)); do
        # shellcheck disable=SC2086
        run ssh plan bash -c 'for h; do ssh "$h" true & done; wait' all $names || return
        v plan plan || return
    done
    for ((i = 0; i < RUNS; i++)); do v again apply --yes || return; done
    for ((i = 0; i < 3; i++)); do
        inventory "turn$i" >"$LAB/inventory.toml"
        v change apply --yes || return
    done
}

part_latency() {
    forget latency
    [ "$CONVERGED" = vpnpush ] || vpnpush_lab || return
    VPNPUSH_BENCH_LAB=$LAB VPNPUSH_BENCH_INVENTORY=$LAB/inventory.toml VPNPUSH_BENCH_HOST=n1 VPNPUSH_BENCH_BIN=$W/vpnpush \
        HOME=$LAB/home "$IN" "$LAB" "$W/bench.test" -test.run '^$' -test.bench '^BenchmarkPlanOne$' -test.benchtime "${RUNS}x" | tee "$W/out" >&2
    awk '/^BenchmarkPlanOne\// { split($1, a, /[\/-]/); for (i = 3; i < NF; i += 2) m[$(i + 1)] = $i
        print a[2], m["ms-ssh-true"], m["ms-plan"] }' "$W/out" >"$W/rtt"
    while read -r rtt ssh plan; do note "latency/${rtt%ms}" "$ssh" "$plan"; done <"$W/rtt"
}

# files: what the playbook copies, of the inventory as it is
files() {
    rm -rf "$LAB/files"
    "$W/vpnpush" -i "$LAB/inventory.toml" render --out "$LAB/files" >/dev/null
    for h in "$LAB"/files/*; do
        cat "$h"/etc/ipsec.d/vpnpush/*.conf >"$h/all.conf"
        cat "$h"/etc/ipsec.d/vpnpush/*.secrets >"$h/all.secrets"
    done
}

ansible() {
    local who=$1 what=$2
    shift 2
    run "$who" "$what" ansible-playbook -i "$LAB/ansible" -e "files=$LAB/files" "$@" "$HERE/peers.yml" || return
    ! grep -E 'unreachable=[1-9]|failed=[1-9]' "$W/out" >&2 || return 1
    case $what in
    plan | again) ! grep -E 'changed=[1-9]' "$W/out" >&2 || { echo "peers.sh: $who, $what: not converged" >&2; return 1; } ;;
    change) [ "$(grep -cE 'changed=[1-9]' "$W/out")" = 2 ] || { echo "peers.sh: $who, $what: not two hosts changed" >&2; return 1; } ;;
    esac
}

# part_ansible WHO SETTING...
part_ansible() {
    local who=$1 setting
    shift
    forget "$who"
    # a good user's settings; facts, forks and the interpreter are for all three alike
    export ANSIBLE_FORKS=$HOSTS ANSIBLE_GATHERING=explicit ANSIBLE_PIPELINING=0 ANSIBLE_RETRY_FILES_ENABLED=0 ANSIBLE_STRATEGY=linear
    for setting; do export "${setting?}"; done
    if [ "$CONVERGED" != ansible ]; then
        lab || return
        { echo '[all]'; cut -d ' ' -f 1 "$LAB/hosts" | sed 's,$, ansible_user=root ansible_python_interpreter=/usr/bin/python3,'; } >"$LAB/ansible"
        files || return
        ansible "$who" first && up || return
        CONVERGED=ansible
    fi
    ansible "$who" plan --check --diff && ansible "$who" again || return
    inventory "$who" >"$LAB/inventory.toml"
    files && ansible "$who" change
}

# need WHO COMMAND|FILE PACKAGE: is there, or is installed
need() {
    if ! command -v "$2" >/dev/null && [ ! -e "$2" ]; then
        say "installing $3"
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$3" >"$W/out" 2>&1 ||
            { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$3"; } >"$W/out" 2>&1 ||
            { missing "$1" "no $3: $(tail -n 1 "$W/out")"; return 1; }
    fi
}

missing() { echo "NOT MEASURED, $1: $2" >&2; note "missing/$1" "$2"; }


CONVERGED=
MITOGEN=/usr/lib/python3/dist-packages/ansible_mitogen/plugins/strategy
go -C "$ROOT" build -o "$W/vpnpush" ./cmd/vpnpush
go -C "$ROOT" test -c -o "$W/bench.test" ./cmd/vpnpush
note version/vpnpush "$(git -C "$ROOT" describe --tags --always --dirty 2>/dev/null || echo unknown)"
note version/ssh "$(ssh -V 2>&1 | sed 's/_/ /; s/p[0-9].*//')"
note date "$(date -u +%F)"
note hosts "$HOSTS"
load=$(cut -d ' ' -f 1 /proc/loadavg)
note machine "$(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)), load $load before it"
[ "${load%.*}" = 0 ] || say "this machine is busy (load $load): trust the ratios of processor time, not the walls"

# part PART: measured, or told why it is not
part() {
    local why
    note "missing/$1" ''
    if ! why=$("$ROOT/testdata/lab/check.sh" ns); then missing "$1" "$why"; return; fi
    case $1 in pipelining | mitogen | plain)
        [ "$PYTHON" ] || { missing "$1" "python3 for the hosts could not be fetched"; return 0; }
        need "$1" ansible-playbook ansible-core || return 0
        note version/ansible "$(ansible-playbook --version | sed -n '1s/.*core \(.*\)].*/\1/p')"
    esac
    case $1 in
    vpnpush | latency) "part_$1" ;;
    plain) part_ansible plain ANSIBLE_PIPELINING=0 ;;
    pipelining) part_ansible pipelining ANSIBLE_PIPELINING=1 ;;
    mitogen)
        need mitogen "$MITOGEN" ansible-mitogen || return 0
        note version/mitogen "$(dpkg-query -W -f '${Version}' ansible-mitogen)"
        part_ansible mitogen ANSIBLE_STRATEGY_PLUGINS="$MITOGEN" ANSIBLE_STRATEGY=mitogen_linear
        ;;
    table) ;;
    *) die "no part $1" ;;
    esac || missing "$1" "it failed"
}

# without it vpnpush and ssh are measured all the same
PYTHON=yes
if (python); then export VPNPUSH_LAB_CACHE=$CACHE/peers; else PYTHON=; fi
for p; do part "$p"; done
awk -f "$HERE/peers.awk" "$RESULTS"
