
# starter_carries CONN: its selectors that are installed
starter_carries() {
    timeout 5 ipsec status 2>/dev/null | awk -v name="$1" '
        { id = $1; sub(/:$/, "", id); conn = id }
        !sub(/\{[0-9]+\}$/, "", conn) || conn != name { next }
        $2 ~ /^(INSTALLED|REKEYING),/ { up[id] = 1 }
        id in up { side = "local"; for (i = 2; i <= NF; i++) if ($i == "===") side = "remote"; else if ($i ~ /^[0-9.]+\/[0-9]+$/) print side, $i }' | sort -u
}
