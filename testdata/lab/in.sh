#!/bin/bash
# in.sh LAB_DIR [@HOST] CMD...    run CMD in the lab's control namespace, or as
# root on a host: on its console where it is namespaces (no ssh involved), over a
# kept ssh connection where it is a machine.
set -euo pipefail
LAB=$(realpath "$1")
shift
export LAB
# env -C, since nsenter's own -w leaves a directory of the old mount namespace
lab=(nsenter -t "$(cat "$LAB/pid")" -m -n -p -i)
[[ ${1:-} == @* ]] || exec "${lab[@]}" env -C "$PWD" "$@"
host=${1#@}
shift
if [ "$(sed -n "s/^$host [^ ]* //p" "$LAB/hosts")" = vm ]; then
    exec "${lab[@]}" ssh -o ControlMaster=auto -o "ControlPath=$LAB/ctl-$host" -o ControlPersist=yes \
        -o ServerAliveInterval=3 -o LogLevel=ERROR "$host" "$(printf '%q ' "$@")"
fi
exec "${lab[@]}" bash -c '
    # the lowest id in the host network namespace is host.sh own unshare; its child is PID 1
    p=$(ip netns pids "$0" | sort -n | head -n 1)
    [ -n "$p" ] || { echo "in.sh: $0 is not up" >&2; exit 255; }
    c=$(<"/proc/$p/task/$p/children")
    exec nsenter -t "${c% }" -m -n -p -i -u -C env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"' "$host" "$@"
