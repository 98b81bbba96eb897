
# swanctl_carries CONN: its selectors that are installed
swanctl_carries() {
    timeout 5 swanctl --list-sas --raw --ike "$1" 2>/dev/null | awk '
        function nets(side, list) { sub(/.*\[/, "", list); sub(/\].*/, "", list); n = split(list, a, " "); for (i = 1; i <= n; i++) print side, a[i] }
        sub(/.* child-sas \{/, "") {
            while (match($0, / state=[A-Z]+/)) {
                s = substr($0, RSTART + 7, RLENGTH - 7); $0 = substr($0, RSTART + RLENGTH)
                if (s != "INSTALLED" && s != "REKEYING") continue
                if (match($0, / local-ts=\[[^]]*\]/)) nets("local", substr($0, RSTART, RLENGTH))
                if (match($0, / remote-ts=\[[^]]*\]/)) nets("remote", substr($0, RSTART, RLENGTH))
            }
        }' | sort -u
}
