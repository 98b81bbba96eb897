package doctor

import (
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
)

// The names of what is read beside what a plan reads.
const (
	readSockets  = "doctor-sockets"
	readKernel   = "doctor-kernel"
	readChains   = "doctor-chains"
	readMirrors  = "doctor-mirrors"
	readAppArmor = "doctor-apparmor"
	readWay      = "doctor-way"
)

// Reads returns what Diagnose needs of a host, beside what a plan reads. Each is a
// command that changes nothing on the host; the one that sends anything is way.
func Reads(h Host) []tasks.Read {
	command := func(name, shell string) tasks.Read {
		return tasks.Read{Kind: tasks.ReadCommand, Arg: name, Shell: shell}
	}
	var packages []tasks.Read
	var status []string
	for _, d := range h.Daemons {
		packages = append(packages, tasks.Read{Kind: tasks.ReadPackage, Arg: d.Package})
		status = append(status, d.Status)
	}
	reads := append([]tasks.Read{
		{Kind: tasks.ReadFile, Arg: tasks.ManifestPath},
		tasks.CharonLog,
		command(readSockets, "ss -H -lunp"),
		command(readKernel, strings.ReplaceAll(shellKernel, "STATUS", strings.Join(status, " || "))),
		command(readChains, "nft list chains"),
		command(readMirrors, shellMirrors),
		command(readAppArmor, shellAppArmor),
	}, append(packages, slices.Concat(tasks.AddressReads(), tasks.SAReads(), tasks.StatusReads(), tasks.Firewall{}.Reads())...)...)
	if h.Hub.Is4() {
		reads = append(reads, command(readWay, strings.ReplaceAll(shellWay, "HUB", h.Hub.String())))
	}
	return reads
}

// shellKernel prints of each module that ESP needs "yes", "no" or "off" (an
// install line in modprobe.d that does not install it, as hardening guides and
// mitigations have), how many kernels have their modules on the disk, and
// whether charon does ESP in user space; STATUS is what asks the daemon.
const shellKernel = `command -v modprobe >/dev/null || { echo "no modprobe" >&2; exit 1; }
for m in esp4 xfrm_user; do
	if [ -d "/sys/module/$m" ]; then v=yes
	elif o=$(modprobe -nv "$m" 2>/dev/null); then
		case $o in *"install "*) v=off;; *) v=yes;; esac
	else v=no; fi
	echo "$m $v"
done
k=$(uname -r); n=0
for d in /lib/modules/*/; do [ ! -d "$d" ] || n=$((n+1)); done
if [ -d "/lib/modules/$k" ]; then echo "running yes"; else echo "running no"; fi
echo "kernels $n"
if p=$({ STATUS; } 2>/dev/null); then
	case $p in *kernel-libipsec*) echo "libipsec yes";; esac
elif [ -e /usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so ]; then echo "libipsec maybe"; fi`

// shellMirrors asks for the address of each host that apt fetches from.
const shellMirrors = `cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
	sed -n 's/^[^#]*https\{0,1\}:\/\/\([A-Za-z0-9.-]*\).*/\1/p' | sort -u | head -n 4 | while read -r h; do
	if timeout 3 getent ahosts "$h" >/dev/null; then echo "$h yes"; else echo "$h no"; fi
done`

// shellAppArmor tells when the kernel has loaded each profile, and what it has denied
// since it booted. That a profile was loaded is in its log as well, but there no more
// than ten lines in five seconds are kept, and Debian 13 loads a hundred profiles.
const shellAppArmor = `cd /sys/kernel/security/apparmor/policy/profiles 2>/dev/null && for p in *charon* *stroke* *swanctl* *xl2tpd* *pppd*; do
	[ ! -e "$p/name" ] || echo "loaded $(stat -c %.Y "$p") $(cat "$p/name")"
done
journalctl -q -k --since=-7days -o cat --no-pager | grep 'apparmor="DENIED"' |
	grep -E 'charon|stroke|swanctl|xl2tpd|pppd' | tail -n 100; :`

// shellWay tries the way from a site to the hub, all at once:
//
//   - An IKE header of a version that does not exist. Charon answers it, knows no
//     peer for it and keeps nothing of it (RFC 7296 section 2.5; "received
//     unsupported IKE version" is a line in its log). On 4500 four zeros stand
//     before it (RFC 3948 section 2.2). bash, which Debian calls essential,
//     opens the socket; no byte is a newline, at which it would cut a datagram.
//     What is refused is not asked again: a kernel sends few refusals to one
//     address, and other sites may be behind it.
//   - Whole pings of the sizes that matter, and who ends a ping at each hop.
const shellWay = `udp() {
	bash -c '
		exec 3<>"/dev/udp/HUB/$1" || { echo "udp $1 error"; exit; }
		r=silent
		for i in 1 2; do
			printf "$2VPNPUSH1\0\0\0\0\0\0\0\0\0\x30\x22\x08\0\0\0\0\0\0\0\x1c" 2>/dev/null >&3 || { r=refused; continue; }
			x=$({ timeout 2 dd bs=64 count=1 status=none <&3 | od -An -v -tx1 | tr -d " \n"; } 2>&1)
			case $x in
			*refused*) r=refused; break;;
			*[0-9a-f]*) case $x in *[!0-9a-f]*) ;; *) r=$x; break;; esac;;
			esac
		done
		echo "udp $1 $r"' udp "$1" "$2" 2>/dev/null
}
udp 500 '' & udp 4500 '\0\0\0\0' &
command -v ping >/dev/null || { wait; echo "ping none"; exit; }
hop() {
	o=$(ping -n -c 1 -W 1 -t "$1" HUB 2>&1 | sed -n 's/^From \([0-9.]*\).*[Tt]ime to live exceeded.*/\1/p')
	[ -z "$o" ] || echo "hop $1 $o"
}
for t in 1 2 3 4; do hop $t & done
if ping -n -c 2 -i 0.3 -W 1 HUB >/dev/null 2>&1; then
	echo "ping ok"
	for m in 1500 1492 1400 1280; do
		o=$(ping -n -c 2 -i 0.3 -W 1 -M "do" -s $((m-28)) HUB 2>&1)
		case $o in
		*" bytes from "*) echo "mtu $m ok"; break;;
		*mtu*) echo "mtu $m told $(printf '%s\n' "$o" | sed -n 's/.*mtu *= *\([0-9]*\).*/\1/p' | head -n 1)"; break;;
		*) echo "mtu $m lost";;
		esac
	done
else
	echo "ping lost"
fi
wait`
