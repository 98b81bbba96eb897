#!/bin/bash
# cover.sh    run the tests with coverage, those on a lab too, and tell what was reached
#
#   COVER_RUN=REGEXP    only these tests (go test -run)
#   COVER_PKGS=./...    only the tests of these packages
#   COVER_OUT=DIR       where the data goes; .cache/cover
#
# One figure for unit tests, scripts and lab together, over the packages that are
# in the program; what is made for tests does not count.
set -euo pipefail
cd "$(dirname "$0")/../.."

rm -rf "${COVER_OUT:=.cache/cover}"
mkdir -p "$COVER_OUT/go"
out=$(realpath "$COVER_OUT")
program=$(go list ./... | grep -v -e /transport/transporttest$ -e /cmd/vpnpush/internal/lab$ | paste -sd,)
read -ra pkgs <<<"${COVER_PKGS:-./...}"

# go test would give the tests a GOCOVERDIR of its own, and with it to the programs
# that they start: those of the scripts, and that of the lab. So env has the last word.
failed=0
VPNPUSH_E2E=1 go test -count=1 -v -timeout 90m -run "${COVER_RUN:-.}" -coverpkg="$program" \
    -exec "env 'GOCOVERDIR=$out/go'" "${pkgs[@]}" -args -test.gocoverdir="$out/go" 2>&1 |
    sed -u '/^ok /s/[[:space:]]*coverage: .*//' | awk -f testdata/summary.awk || failed=1

go tool covdata textfmt -i="$out/go" -pkg="$program" -o "$out/profile"
go tool cover -func="$out/profile" >"$out/func"

printf '\nstatements reached, by package:\n'
go tool covdata percent -i="$out/go" -pkg="$program" | awk '{ printf "%7s  %s\n", $3, $1 }'
awk '$1 == "total:" { printf "%7s  in all\n", $NF }' "$out/func"

printf '\nfunctions of tasks/engine that nothing reached:\n'
awk '$1 ~ "/tasks/engine/" && $NF == "0.0%" { sub(/^.*\/tasks\//, "tasks/", $1); print "    " $1 " " $2; n++ } END { if (!n) print "    none" }' "$out/func"

printf '\nlook at it: go tool cover -html=%s/profile\n' "$COVER_OUT"
exit "$failed"
