# shellcheck shell=sh
# The part of an apply script that takes keys out of files that are not ours.

# keys_out FILE FROM,TO...: these lines of FILE are comments
keys_out() {
    keys_file=$1 mode='' own=''
    shift
    mode_of "$keys_file" 0600
    for range in "$@"; do printf '%ss/^/# taken out by vpnpush: /\n' "$range"; done >"$txn/edit"
    sed -f "$txn/edit" -- "$keys_file" >"$txn/edited"
    put "$keys_file" "$mode" "$own" <"$txn/edited"
    rm -f -- "$txn/edit" "$txn/edited"
}

# keys_back FILE: what was taken out of FILE is in it again
keys_back() {
    [ -e "$1" ] || return 0
    mode='' own=''
    mode_of "$1" 0600
    sed 's/^# taken out by vpnpush: //' -- "$1" >"$txn/edited"
    put "$1" "$mode" "$own" <"$txn/edited"
    rm -f -- "$txn/edited"
}
