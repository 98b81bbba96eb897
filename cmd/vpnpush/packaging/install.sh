#!/bin/bash
# Put the program $1 and all that goes with it below the prefix $3 (/usr/local), in the
# folder $2 where that is not empty. What is put there is for everybody to read.
set -euo pipefail
cd "$(dirname "$0")/../../.."
program=$1 prefix=$3
into=$2$3
umask 022

install -D -m 755 "$program" "$into/bin/vpnpush"
"$program" man --dir "$into/share/man/man1" >/dev/null
"$program" completion bash | install -D -m 644 /dev/stdin "$into/share/bash-completion/completions/vpnpush"
"$program" completion zsh | install -D -m 644 /dev/stdin "$into/share/zsh/site-functions/_vpnpush"
"$program" completion fish | install -D -m 644 /dev/stdin "$into/share/fish/vendor_completions.d/vpnpush.fish"

doc=$into/share/doc/vpnpush units=$into/lib/systemd/system
install -D -m 644 -t "$doc" README.md CHANGELOG.md LICENSE
install -D -m 644 -t "$doc/docs" docs/*.md docs/*.svg
install -D -m 644 -t "$doc/docs/ja" docs/ja/*.md
install -D -m 644 -t "$doc/examples" cmd/vpnpush/packaging/examples/*
install -D -m 644 -t "$units" cmd/vpnpush/packaging/vpnpush-drift.service cmd/vpnpush/packaging/vpnpush-drift.timer
sed -i "s,/usr/\(bin/vpnpush\|share/doc\),$prefix/\1," "$units"/vpnpush-drift.* "$doc"/examples/*
