#!/bin/bash
# bench.sh [N]    run the benchmarks of docs/speed.md, each N times (default 5).
# Wants root and what testdata/lab/up.sh wants; without it only those that need no
# hosts run.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
ROOT=$(realpath "$HERE/../..")
N=${1:-5}
LAB=$(mktemp -d)
trap '"$ROOT/testdata/lab/down.sh" "$LAB" >/dev/null 2>&1 || :; rm -rf "$LAB"' EXIT
cd "$ROOT/cmd/vpnpush"
go build -o "$LAB/vpnpush" .
go test -c -o "$LAB/bench.test" .
export VPNPUSH_BENCH_BIN=$LAB/vpnpush
"$LAB/bench.test" -test.run '^$' -test.bench 'Offline|Memory' -test.benchtime "${N}x"
if why=$("$ROOT/testdata/lab/check.sh" ns); then
    hosts=(vps=hub:bookworm:starter)
    for i in $(seq 1 99); do hosts+=("n$i=e$i:bookworm:starter:sshd"); done
    "$ROOT/testdata/lab/up.sh" "$LAB" "${hosts[@]}"
    export VPNPUSH_BENCH_LAB=$LAB
    "$ROOT/testdata/lab/in.sh" "$LAB" "$LAB/bench.test" -test.run '^$' -test.bench 'Plan' -test.benchtime "${N}x"
    "$HERE/sites.sh"
    "$HERE/packets.sh"
else
    echo "NOT MEASURED, plans: $why" >&2
fi
