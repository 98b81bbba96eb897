#!/bin/bash
# tests.sh ARG...    go test ARG..., told for a reader
#
# On a terminal a line per package that grows while its tests run, else a line per
# package at its end; what failed with its output; what was skipped, and why; the
# slowest tests. Exits as go test does.
#
#   PARALLEL=5    so many tests of a package at a time: those on a lab wait for much of it
#   SLOWEST=15    so many are told at the end
#   NOT_RUN=TEXT  what this leaves out and who runs that: the last line, and a loud one
set -euo pipefail
gotestsum=(go run gotest.tools/gotestsum@v1.13.0)
format=standard-quiet
if [ -t 1 ]; then format=dots-v2; fi
events=$(mktemp)
trap 'rm -f "$events"' EXIT
code=0
# -p 3: of the packages one has most of the tests, and for a minute those that are alone
"${gotestsum[@]}" --format "$format" --jsonfile-timing-events "$events" -- -p 3 -parallel "${PARALLEL:-5}" "$@" || code=$?
printf '\nthe slowest:\n'
"${gotestsum[@]}" tool slowest --num "${SLOWEST:-15}" --jsonfile "$events" |
    awk '{ sub(/^.*\/vpnpush\//, "", $1); printf "%10s  %s  %s\n", $3, $1, $2 }'
[ -z "${NOT_RUN:-}" ] || printf '\nNOT RUN here: %s\n' "$NOT_RUN"
exit "$code"
