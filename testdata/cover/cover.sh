#!/bin/bash
# cover.sh    run the tests with coverage, those on a lab too, and tell what was reached
#
#   COVER_RUN=REGEXP    only these tests (go test -run)
#   COVER_PKGS=./...    only the tests of these packages
#   COVER_OUT=DIR       where the data goes; .cache/cover
#
# One figure for unit tests, scripts and lab together, over the packages that are
# in the program; what is made for tests does not count. The shell functions of the
# apply script are counted on the lab's hosts: its program is built with the tag
# shellcover, which makes each of them note its name (tasks/host/shellcover.go).
set -euo pipefail
cd "$(dirname "$0")/../.."

rm -rf "${COVER_OUT:=.cache/cover}"
mkdir -p "$COVER_OUT"/{go,shell}
out=$(realpath "$COVER_OUT")
program=$(go list ./... | grep -v -e /transport/transporttest$ -e /cmd/vpnpush/internal/lab$ | paste -sd,)
read -ra pkgs <<<"${COVER_PKGS:-./...}"

# What notes the functions must work, and must be in no program without the tag.
go test -count=1 -tags=shellcover -run '^TestShellCover' ./tasks/host
go build -o "$out/plain" ./cmd/vpnpush
go build -tags=shellcover -o "$out/noting" ./cmd/vpnpush
grep -qF /var/tmp/vpnpush-cover "$out/noting" || { echo "cover.sh: the tag shellcover adds nothing to the program" >&2; exit 1; }
! grep -qF vpnpush-cover "$out/plain" || { echo "cover.sh: a program built without the tag shellcover notes functions" >&2; exit 1; }
rm "$out"/{plain,noting}

# go test would give the tests a GOCOVERDIR of its own, and with it to the programs
# that they start: those of the scripts, and that of the lab. So env has the last word.
failed=0
VPNPUSH_E2E=1 testdata/tests.sh -count=1 -timeout 90m -run "${COVER_RUN:-.}" -coverpkg="$program" \
    -exec "env 'GOCOVERDIR=$out/go' 'VPNPUSH_SHELL_COVER=$out/shell'" "${pkgs[@]}" -args -test.gocoverdir="$out/go" 2>&1 |
    sed -u '/^ok /s/[[:space:]]*coverage: .*//' || failed=1

go tool covdata textfmt -i="$out/go" -pkg="$program" -o "$out/profile"
go tool cover -func="$out/profile" >"$out/func"

printf '\nstatements reached, by package:\n'
go tool covdata percent -i="$out/go" -pkg="$program" | awk '{ printf "%7s  %s\n", $3, $1 }'
awk '$1 == "total:" { printf "%7s  in all\n", $NF }' "$out/func"

printf '\nfunctions of tasks/engine that nothing reached:\n'
awk '$1 ~ "/tasks/engine/" && $NF == "0.0%" { sub(/^.*\/tasks\//, "tasks/", $1); print "    " $1 " " $2; n++ } END { if (!n) print "    none" }' "$out/func"

# All there are: those of every part, and those that are generated, which the golden
# script has, or for a rehearsal the program that generates them.
{
    sed -nE 's/^([a-z_][a-z0-9_]*)\(\) \{.*/\1/p' tasks/host/*.sh tasks/*.sh roles/*.sh roles/testdata/scripts/apply.golden
    grep -oE '\\n[a-z_]+\(\) \{' tasks/host/rehearse.go | sed -E 's/^\\n|\(.*//g'
} | sort -u >"$out/shell.all"
find "$out/shell" -type f -exec cat {} + | sort -u >"$out/shell.reached"
if unknown=$(comm -13 "$out/shell.all" "$out/shell.reached") && [ -n "$unknown" ]; then
    echo "cover.sh: reached, but not among the functions of the apply script: ${unknown//$'\n'/ }" >&2
    failed=1
fi
printf '\nshell functions of the apply script that nothing reached (%d of %d were):\n' "$(wc -l <"$out/shell.reached")" "$(wc -l <"$out/shell.all")"
comm -23 "$out/shell.all" "$out/shell.reached" | awk '{ print "    " $0 } END { if (!NR) print "    none" }'

printf '\nlook at it: go tool cover -html=%s/profile\n' "$COVER_OUT"
exit "$failed"
