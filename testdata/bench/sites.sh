#!/bin/bash
# sites.sh [N...]    what a hub with N sites costs (default 12 102 502 1002): a plan, a
#                    drift, an apply of one more site, and one that takes all but 12 off
#
# The hub is real, in the fast lab, and its charon has all the conns; the sites are not
# there. Told are the processor of vpnpush and of the hub, what went over the wire, and
# between the last two N the exponent of growth: 1 is linear. Seconds of processor are
# to be trusted on a machine with other work; the wall is not.
#
#   LAYER=starter       or swanctl: by which strongSwan runs
#   FILTER=none         or iptables
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
ROOT=$(realpath "$HERE/../..")
IN=$ROOT/testdata/lab/in.sh
[ $# -gt 0 ] || set -- 12 102 502 1002
LAB=$(mktemp -d)
trap '"$ROOT/testdata/lab/down.sh" "$LAB" >/dev/null 2>&1 || :; rm -rf "$LAB"' EXIT
go -C "$ROOT" build -o "$LAB/vpnpush" ./cmd/vpnpush
"$ROOT/testdata/lab/up.sh" "$LAB" "vps=hub:bookworm:${LAYER:-starter}"
mkdir "$LAB/home"

# inventory N
inventory() {
    cat <<I
id = "lab"
[hub]
name = "vps"
address = "203.0.113.10"
subnets = ["10.10.0.0/24"]
[firewall]
backend = "${FILTER:-none}"
I
    for ((i = 0; i < $1; i++)); do
        printf '[sites.site%05d]\nsubnets = ["172.%d.%d.%d/26"]\npsk = "key-of-site-%05d-0123456789abcdef"\n' \
            "$i" $((16 + i / 1024)) $((i / 4 % 256)) $((i % 4 * 64)) "$i"
    done
}

hub() { "$IN" "$LAB" sh -c "sed -n 's/^usage_usec //p' $LAB/cg/vpnpush-lab-$(cat "$LAB/id")/vps/cpu.stat"; }
wire() { "$IN" "$LAB" awk "/br-wan:/ { print \$2 + \$10 }" /proc/self/net/dev; }

# run WHAT N ARG...: vpnpush ARG..., a line of the table
run() {
    local what=$1 n=$2 h0 w0 TIMEFORMAT='%U %S %R' t
    shift 2
    h0=$(hub) w0=$(wire)
    t=$({ time "$IN" "$LAB" env HOME="$LAB/home" "$LAB/vpnpush" -i "$LAB/inventory.toml" --limit vps "$@" >"$LAB/out" 2>&1 || [ $? -lt 4 ] || cat "$LAB/out" >&2; } 2>&1)
    tail -n 1 <<<"$t" | awk -v what="$what" -v n="$n" -v hub="$(($(hub) - h0))" -v wire="$(($(wire) - w0))" \
        '{ printf "%s\t%d\t%.2f\t%.2f\t%.2f\t%.0f\n", what, n, $1 + $2, hub / 1e6, $3, wire / 1024 }' >>"$LAB/rows"
}

for n; do
    inventory "$n" >"$LAB/inventory.toml"
    chmod 600 "$LAB/inventory.toml"
    run 'first apply' "$n" apply --yes --timeout 15m
    run plan "$n" plan
    run drift "$n" drift
    inventory $((n + 1)) >"$LAB/inventory.toml"
    run 'one more site' "$n" apply --yes
    inventory 12 >"$LAB/inventory.toml"
    [ "$n" -le 12 ] || run 'all but 12 off' "$n" apply --yes --allow-delete "$n" --timeout 15m
done

printf '%-16s %6s %10s %8s %8s %8s\n' what sites 'client s' 'hub s' 'wall s' KiB
sort -t $'\t' -k 1,1 -k 2,2n "$LAB/rows" | awk -F '\t' '
    function exponent(a, b) { return a > 0 && b > 0 ? sprintf("%.1f", log(b / a) / log(n / was["n"])) : "-" }
    function sum() { if (lines > 1) printf "%-16s %6s %10s %8s %8s %8s\n", "", "^", e[3], e[4], e[5], e[6] }
    $1 != what { sum(); lines = 0 }
    { what = $1; n = $2; if (lines++) for (i = 3; i <= 6; i++) e[i] = exponent(was[i], $i); was["n"] = n; for (i = 3; i <= 6; i++) was[i] = $i
      printf "%-16s %6d %10.2f %8.2f %8.2f %8d\n", $1, $2, $3, $4, $5, $6 }
    END { sum() }'
