#!/bin/bash
# in.sh LAB_DIR [@HOST] CMD...    run CMD in the lab's control namespace, or as
# root on a host: on its console where it is namespaces (no ssh involved), over a
# kept ssh connection where it is a machine.
#
# Tests ask hosts thousands of times: each process that this starts is one too many.
set -euo pipefail
LAB=$1
[[ $LAB == /* ]] || LAB=$(realpath "$LAB")
shift
export LAB
# env -C, since nsenter's own -w leaves a directory of the old mount namespace
lab=(nsenter -t "$(<"$LAB/pid")" -m -n -p -i)
[[ ${1:-} == @* ]] || exec "${lab[@]}" env -C "$PWD" "$@"
host=${1#@} kind=
shift
while read -r name _ k; do
    [ "$name" != "$host" ] || kind=$k
done <"$LAB/hosts"
if [ "$kind" = vm ]; then
    exec "${lab[@]}" ssh -o ControlMaster=auto -o "ControlPath=$LAB/ctl-$host" -o ControlPersist=yes \
        -o ServerAliveInterval=3 -o LogLevel=ERROR "$host" "$(printf '%q ' "$@")"
fi
exec "${lab[@]}" bash -c '
    # host.sh has its unshare noted, whose child is PID 1
    c=
    if read -r p <"$LAB/ns/$0/unshare"; then read -r c <"/proc/$p/task/$p/children"; fi 2>/dev/null
    [ -n "$c" ] || { echo "in.sh: $0 is not up" >&2; exit 255; }
    exec nsenter -t "${c% }" -m -n -p -i -u -C env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"' "$host" "$@"
