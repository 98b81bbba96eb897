#!/bin/bash
# probe.sh [N]    what a plan of a converged host costs the host, beside `ssh HOST true`
#                 (N times each, default 20, in turns): a hub and a site by each backend
#
# Told are the host's processor, of all that runs on it, the processes that were started
# there, sshd's included, and what went over the wire, each the median of N. Where strace
# is, the programs that were run are counted, too.
#
#   OLD=PROGRAM     another vpnpush, in the same turns
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
ROOT=$(realpath "$HERE/../..")
N=${1:-20}
LAB=$(mktemp -d)
trap '"$ROOT/testdata/lab/down.sh" "$LAB" >/dev/null 2>&1 || :; rm -rf "$LAB"' EXIT
go -C "$ROOT" build -o "$LAB/vpnpush" ./cmd/vpnpush
"$ROOT/testdata/lab/up.sh" "$LAB" vps=hub:bookworm:starter tokyo=1:bookworm:starter osaka=2:trixie:swanctl
mkdir "$LAB/home"
cat >"$LAB/inventory.toml" <<I
id = "lab"
[hub]
name = "vps"
address = "203.0.113.10"
subnets = ["10.10.0.0/24"]
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "key-of-tokyo-0123456789abcdef"
ssh.host = "192.168.1.10"
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "key-of-osaka-0123456789abcdef"
ssh.host = "192.168.2.10"
I
chmod 600 "$LAB/inventory.toml"

# All of it runs in the lab: what starts there is not measured.
# shellcheck disable=SC2016
measure='
CG=$LAB/cg/vpnpush-lab-$(<"$LAB/id")
# where the host is: what it has used (us), its last process, bytes on the wire
counts() {
    local k v
    while read -r k v; do [ "$k" != usage_usec ] || echo "$v"; done <"$CG/$host/cpu.stat"
    nsenter -t "${init% }" -p cat /proc/sys/kernel/ns_last_pid
    while read -r k v _ _ _ _ _ _ _ sent _; do [ "$k" != br-wan: ] || echo $((v + sent)); done </proc/self/net/dev
}
vpnpush() { HOME=$LAB/home "$1" -i "$LAB/inventory.toml" --limit "$host" plan >"$LAB/out" || { cat "$LAB/out" >&2; exit 1; }; }
run() {
    case $1 in ssh) ssh "$host" true ;; now) vpnpush "$LAB/vpnpush" ;; old) vpnpush "$OLD" ;; esac
}
row() {
    local before after
    before=($(counts))
    run "$1"
    sleep 0.3 # what the host still does then belongs to it
    after=($(counts))
    printf "%s\t%s\t%d\t%d\t%d\n" "$host" "$1" $((after[0] - before[0])) $((after[1] - before[1] - 1)) $((after[2] - before[2])) >>"$LAB/rows"
}
for host in vps tokyo osaka; do
    read -r unshare <"$LAB/ns/$host/unshare"
    init=$(<"/proc/$unshare/task/$unshare/children")
    # one session stays, or the login manager of a user would come and go
    ssh "$host" sleep 600 & held=$!
    for what in ssh now ${OLD:+old}; do run "$what"; done
    sleep 1
    for ((i = 0; i < N; i++)); do for what in ssh now ${OLD:+old}; do row "$what"; done; done
    if command -v strace >/dev/null; then
        for listener in $(pgrep -f "sshd: .*listener"); do
            grep -q "/$host/" "/proc/$listener/cgroup" || continue
            for what in ssh now ${OLD:+old}; do
                strace -f -qq -o "$LAB/trace" -e trace=execve -e signal=none -p "$listener" & tracer=$!
                sleep 0.5
                run "$what"
                sleep 0.5
                kill "$tracer"; wait "$tracer" || :
                printf "%s\t%s\t%d\n" "$host" "$what" "$(grep -c "execve(.* = 0$\|execve resumed.* = 0$" "$LAB/trace")" >>"$LAB/execs"
            done
        done
    fi
    kill "$held"; wait "$held" || :
done
'
IN=("$ROOT/testdata/lab/in.sh" "$LAB")
"${IN[@]}" env HOME="$LAB/home" "$LAB/vpnpush" -i "$LAB/inventory.toml" apply --yes --timeout 5m >"$LAB/out" || { cat "$LAB/out" >&2; exit 1; }
touch "$LAB/execs"
LAB=$LAB N=$N OLD=${OLD-} "${IN[@]}" bash -euc "$measure"
sort -t $'\t' -k 1,1 -k 2,2 "$LAB/rows" | awk -F '\t' '
    FILENAME != "-" { execs[$1, $2] = $3; next }
    function median(a, n,    i, j, t) {
        for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
        return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    { k = $1 SUBSEP $2; host[$1]; what[$2]; n[k]++; cpu[k, n[k]] = $3; forks[k, n[k]] = $4; wire[k, n[k]] = $5 }
    function of(v, k,    a, i) { for (i = 1; i <= n[k]; i++) a[i] = v[k, i]; return median(a, n[k]) }
    END {
        printf "%-8s %-5s %10s %10s %10s %8s %8s\n", "host", "", "host ms", "x ssh true", "processes", "programs", "KB"
        for (h in host) {
            floor = of(cpu, h SUBSEP "ssh")
            for (i = split("ssh old now", w, " "); i > 0; i--) if (w[i] in what) {
                k = h SUBSEP w[i]
                printf "%-8s %-5s %10.1f %10.2f %10d %8s %8.1f\n", h, w[i], of(cpu, k) / 1000, of(cpu, k) / floor, of(forks, k), (k in execs) ? execs[k] : "-", of(wire, k) / 1000
                # for the table of bench.sh
                if (w[i] == "now") table = table sprintf("BenchmarkProbe/%s %d %.2f x-ssh-true %.1f kB\n", h, n[k], of(cpu, k) / floor, of(wire, k) / 1000)
            }
        }
        printf "%s", table
    }' "$LAB/execs" -
