#!/bin/bash
# bench.sh [N]    run the benchmarks of docs/speed.md, each N times (default 5), and print
#                 a table of them with the goals beside
#
# Wants root and what testdata/lab/up.sh wants; without it only those that need no hosts
# run. What fails or is missing is told and left out, and the others run all the same.
#
#   PARTS='offline plans probe sites packets'    only some of them
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
ROOT=$(realpath "$HERE/../..")
N=${1:-5}
LAB=$(mktemp -d)
trap '"$ROOT/testdata/lab/down.sh" "$LAB" >/dev/null 2>&1 || :; rm -rf "$LAB"' EXIT
go -C "$ROOT" build -o "$LAB/vpnpush" ./cmd/vpnpush
go -C "$ROOT" test -c -o "$LAB/bench.test" ./cmd/vpnpush
export VPNPUSH_BENCH_BIN=$LAB/vpnpush
cd "$ROOT/cmd/vpnpush"
: >"$LAB/out"
missed=

# part NAME CMD...: what it prints is shown, and kept for the table
part() {
    local name=$1 rc=0
    shift
    case " ${PARTS:-offline plans probe sites packets} " in *" $name "*) ;; *) return 0 ;; esac
    echo "== $name" >&2
    "$@" 2>&1 | tee -a "$LAB/out" || rc=$?
    [ $rc = 0 ] || missing "$name" "it failed (exit code $rc)"
}

missing() {
    echo "NOT MEASURED, $1: $2" >&2
    missed+="NOT MEASURED, $1: $2"$'\n'
}

benchmarks() { "${@:2}" "$LAB/bench.test" -test.run '^$' -test.bench "$1" -test.benchtime "${N}x"; }

# a hub, and 99 hosts that are sshd alone
plans() {
    local i hosts=(vps=hub:bookworm:starter)
    for ((i = 1; i <= 99; i++)); do hosts+=("n$i=e$i:bookworm:starter:sshd"); done
    "$ROOT/testdata/lab/up.sh" "$LAB" "${hosts[@]}" || return
    VPNPUSH_BENCH_LAB=$LAB benchmarks Plan "$ROOT/testdata/lab/in.sh" "$LAB"
}

part offline benchmarks 'Offline|Client|Memory|Hub'
if why=$("$ROOT/testdata/lab/check.sh" ns); then
    part plans plans
    "$ROOT/testdata/lab/down.sh" "$LAB"
    for script in probe sites packets; do
        [ ! -x "$HERE/$script.sh" ] || part "$script" "$HERE/$script.sh"
    done
else
    missing 'plans, probe, sites, packets' "$why"
fi

awk '
    # goal NAME UNIT TEXT MOST: a row, where that benchmark has run; MOST "" is no goal
    function goal(name, unit, text, most,    got) {
        if (!((name, unit) in v)) { printf "%-58s %12s %10s\n", text, "-", "not run"; return }
        got = v[name, unit]
        printf "%-58s %12s %10s %s\n", text, sprintf("%.3g", got), most == "" ? "" : "<= " most, most == "" ? "" : got <= most ? "held" : "MISSED"
    }
    /^Benchmark/ {
        name = $1
        sub(/-[0-9]+$/, "", name)
        for (i = 3; i < NF; i += 2) v[name, $(i + 1)] = $i
    }
    END {
        for (k in v) if (split(k, part, SUBSEP) && part[2] == "ns/op") v[part[1], "s"] = v[k] / 1e9
        if (("BenchmarkMemory/drift/100", "MB-peak") in v && ("BenchmarkMemory/drift/1000", "MB-peak") in v)
            v["drift", "grows"] = v["BenchmarkMemory/drift/1000", "MB-peak"] / v["BenchmarkMemory/drift/100", "MB-peak"]
        for (i = split("plan drift", verb, " "); i > 0; i--)
            if ((("BenchmarkHub/" verb[i] "/12"), "ms-cpu") in v && (("BenchmarkHub/" verb[i] "/1000"), "ms-cpu") in v)
                v["hub " verb[i], "x"] = v["BenchmarkHub/" verb[i] "/1000", "ms-cpu"] / v["BenchmarkHub/" verb[i] "/12", "ms-cpu"]
        printf "\n%-58s %12s %10s\n", "", "measured", "goal"
        n = split("0s 20ms 100ms 200ms", rtt, " ")
        for (i = 1; i <= n; i++) goal("BenchmarkPlanOne/" rtt[i], "x-ssh-true", "plan of 1 host, " rtt[i] " away, against cold ssh host true", 1)
        goal("BenchmarkPlanMany", "x-ssh-true", "plan of 100 hosts against as many ssh host true at once", 0.7)
        goal("BenchmarkClient/20", "ms-cpu/host", "plan of 20 hosts: ms of your processor a host", 5)
        goal("BenchmarkClient/100", "ms-cpu/host", "plan of 100 hosts: ms of your processor a host", 5)
        for (i = 1; i <= 2; i++) {
            goal("hub " verb[i], "x", verb[i] " of a hub of 1,000 sites against 12: your processor", 3)
            goal("BenchmarkHub/" verb[i] "/5000", "exponent", "  exponent from 1,000 to 5,000 sites", 1.1)
        }
        goal("BenchmarkProbe/tokyo", "x-ssh-true", "plan of a site against ssh host true: the site\047s processor", 1.5)
        goal("BenchmarkProbe/tokyo", "kB", "  on the wire, ssh\047s own included: kB", 15)
        goal("BenchmarkProbe/vps", "x-ssh-true", "plan of a hub of 2 sites: the hub\047s processor", 1.5)
        goal("BenchmarkOffline/validate", "s", "validate of 1,000 sites: s", 1)
        goal("BenchmarkOffline/render", "s", "render of 1,000 sites: s", 1)
        goal("BenchmarkOffline/render", "x-cp", "  against cp -r of the result", "")
        goal("BenchmarkMemory/plan/1000", "MB-peak", "plan of 1,000 bare hosts: MB at the most", 200)
        goal("BenchmarkMemory/drift/1000", "MB-peak", "drift of 1,000 bare hosts: MB at the most", "")
        goal("drift", "grows", "  against that of 100", 2)
    }' "$LAB/out"
echo "What a hub of many sites costs, and a packet, stands above. Beside Ansible: make bench-peers."
printf %s "$missed" >&2
[ -z "$missed" ]
