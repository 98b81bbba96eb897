#!/bin/bash
# down.sh LAB_DIR    end a lab started by up.sh (idempotent)
#
# Kills one process, the lab's PID 1, by its id; the kernel ends everything in
# its pid namespace with it, and mounts, networks and disks go with those.
set -uo pipefail
LAB=$(realpath "$1" 2>/dev/null) || exit 0
[ -e "$LAB/id" ] || exit 0
id=$(cat "$LAB/id")
if P=$(cat "$LAB/pid" 2>/dev/null) && [ -n "$P" ]; then
    # only if it is still that process, and not another with its id
    if { tr '\0' '\n' <"/proc/$P/environ"; } 2>/dev/null | grep -qxF "LABID=$id"; then
        kill -KILL "$P"
        for ((i = 0; i < 500; i++)); do
            [ -e "/proc/$P" ] || break
            sleep 0.01
        done
    fi
fi
# the empty cgroups: the one thing outside of its namespaces
unshare -m --propagation private bash -c '
    mount -t cgroup2 cgroup2 "$1"
    for ((i = 0; i < 50; i++)); do
        [ -d "$1/$2" ] || exit 0
        find "$1/$2" -depth -type d -exec rmdir {} + 2>/dev/null
        sleep 0.02
    done' down "$LAB/cg" "vpnpush-lab-$id"
rm -f "$LAB"/{pid,id,started,hosts,known_hosts,ssh_config,lock}
exit 0
