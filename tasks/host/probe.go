package host

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// The answer of a probe is a list of sections. A section starts with a line
// that begins with sectionMark and names it, and goes on to the next newline
// followed by sectionMark; the files come last, as one tar archive; and the
// whole ends with the line of endMark, without which it is not complete. Where the host
// has gzip, all of it comes packed behind the line of packedMark.
const (
	packedMark  = "vpnpush-facts 1 gzip\n"
	sectionMark = "\x01"
	tarMark     = "\n" + sectionMark + "files\n"
	endMark     = "\n" + sectionMark + "end\t" // and the status of tar
)

const probeHead = `export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
probe() {
exec 4>&1
# s NAME...: begin a section
s() { printf '\n\001%s' "$1"; shift; [ $# -eq 0 ] || printf '\t%s' "$@"; echo; }
# r FILE NAME...: a section that holds the first line of FILE
r() { f=$1; shift; if [ -e "$f" ]; then s "$@"; v=; IFS= read -r v <"$f" || :; printf '%s' "$v"; else s "$1-absent" "$2"; fi; }
# c NAME SHELL: run SHELL; keep its standard output, standard error and status
c() { s command "$1"; e=$(eval "$2" 2>&1 >&4 4>&- </dev/null); x=$?; s status "$1" "$x"; printf '%s' "$e"; }
printf 'vpnpush-facts 1'
r /proc/sys/kernel/osrelease host kernel
r /proc/sys/kernel/random/boot_id host boot_id
r /proc/uptime host uptime
s host uid; id -u
s host now; date +%s
s host arch; dpkg --print-architecture 2>/dev/null
[ ! -d /run/systemd/system ] || s host systemd
if [ -e /dev/ppp ] || modprobe -qn ppp_generic 2>/dev/null; then s host ppp; fi
for d in /etc /var/lib /run; do [ -w "$d" ] || s host readonly "$d"; done
s host df; df -Pk /etc /usr /var /var/lib/vpnpush /run 2>/dev/null | while read -r _ _ _ k _ m; do echo "$k $m"; done
`

// probeFiles collects in $f the files that are there, a line each: those that were asked
// for, and those that the manifest has, since what is ours and no longer wanted is known
// by the manifest alone. A hub has thousands: no step may look at all the others.
const probeFiles = `n='
'
# a FILE: name it if it is there, else say that it is not
a() { case $1 in *"$n"*) s newline >&4; printf '%%s' "${1%%%%"$n"*}" >&4; return;; esac; if [ -e "$1" ] || [ -L "$1" ]; then printf '%%s\n' "$1"; else s absent "$1" >&4; fi; }
f=$({ for p in %s; do a "$p"; done
%s} | sort -u)
`

// probeOurs names the files that the manifest has.
const probeOurs = `  IFS=$n; set -f
  # shellcheck disable=SC2013 # IFS is a newline
  for p in $(sed -n -e 's/^ *"path": "\(\/[^"\\]*\)",$/\1/p' -e 's/^ *"first": "\(\/[^"\\]*\)",$/\1/p' ` + tasks.ManifestPath + ` 2>/dev/null); do a "$p"; done
`

// OnlyThese among the reads of a Probe keeps it from what it brings besides: the manifest
// and the files that it names. On a hub with many sites that is most of an answer.
var OnlyThese = tasks.Read{Kind: "only-these"}

// Have is what files of a host are expected to hold, by path. Of one that does the host
// tells so in the place of its content: what a hub with many sites has of ours is long, and
// does not pack.
type Have map[string][]byte

// probeHave takes out of $f the regular files that hold what is expected of them, which is
// a line of sha256sum each.
const probeHave = `while read -r h p; do
    if [ -f "$p" ] && [ ! -L "$p" ] && [ "$(sha256sum <"$p")" = "$h  -" ] && m=$(stat -c '%%a	%%U:%%G	%%Y' -- "$p"); then
        s have "$m" "$p"
        f=$(printf '%%s\n' "$f" | grep -vxF -e "$p")
    fi
done <<'EOF'
%sEOF
`

// Probe makes the one script that brings all of reads, and the platform. It is
// POSIX sh, writes nothing on the host, and holds no secret.
func Probe(reads []tasks.Read, have Have) (string, error) {
	var files, globs, packages, units []string
	var sysctls, commands []tasks.Read
	for _, r := range reads {
		if r.Kind == tasks.ReadGlob {
			globs = append(globs, r.Arg)
		}
	}
	seen := map[tasks.Read]bool{}
	always := []tasks.Read{
		{Kind: tasks.ReadFile, Arg: "/etc/os-release"}, {Kind: tasks.ReadFile, Arg: "/usr/lib/os-release"},
		{Kind: tasks.ReadFile, Arg: tasks.ManifestPath}, {Kind: tasks.ReadFile, Arg: tasks.RevertFailedPath},
	}
	ours := probeOurs
	if slices.Contains(reads, OnlyThese) {
		always, ours = always[:2], ""
	}
	for _, r := range append(always, reads...) {
		if seen[r] {
			continue
		}
		seen[r] = true
		switch r.Kind {
		case tasks.ReadFile:
			// a pattern that matches it brings it, or tells that it is not there
			if tasks.InGlob(slices.Values(globs), r.Arg) {
				continue
			}
			files = append(files, transport.Quote(r.Arg))
		case tasks.ReadGlob:
			dir, pat := r.Arg[:strings.LastIndex(r.Arg, "/")+1], r.Arg[strings.LastIndex(r.Arg, "/")+1:]
			if strings.ContainsAny(dir, "*?[") || strings.Trim(pat, "*abcdefghijklmnopqrstuvwxyz-._") != "" {
				return "", fmt.Errorf("probe: pattern %q: only * in the last part is read", r.Arg)
			}
			files = append(files, transport.Quote(dir)+pat)
		case tasks.ReadPackage:
			packages = append(packages, transport.Quote(r.Arg))
		case tasks.ReadUnit:
			units = append(units, transport.Quote(r.Arg))
		case tasks.ReadSysctl:
			sysctls = append(sysctls, r)
		case OnlyThese.Kind:
		case tasks.ReadCommand:
			commands = append(commands, r)
		default:
			return "", fmt.Errorf("probe: cannot read a %q", r.Kind)
		}
	}
	sort.Strings(files)

	var b strings.Builder
	b.WriteString(probeHead)
	for _, r := range sysctls {
		fmt.Fprintf(&b, "r %s sysctl %s\n", transport.Quote(tasks.SysctlPath(r.Arg)), transport.Quote(r.Arg))
	}
	if len(packages) > 0 {
		all := strings.Join(packages, " ")
		// dpkg-query exits with 1 when it does not know one of them
		fmt.Fprintf(&b, "s package-names; printf '%%s\\n' %s\n", all)
		fmt.Fprintf(&b, "s packages\nd=$(dpkg-query -W -f '${Package}\\t${db:Status-Status}\\t${Version}\\n${Conffiles}\\n' %s 2>/dev/null); x=$?\nprintf '%%s' \"$d\"\ns packages-status \"$x\"\n", all)
		// what apt would install costs most of a probe, and is of interest only
		// for what is not there
		fmt.Fprintf(&b, "m=; for p in %s; do case \"\n$d\" in *\"\n$p\tinstalled\t\"*) ;; *) m=\"$m $p\";; esac; done\n", all)
		// shellcheck: $m is a list of plain names
		b.WriteString("if [ -n \"$m\" ]; then\n# shellcheck disable=SC2086\nset -- $m; c apt-policy \"apt-cache policy $*\"; fi\n")
	}
	if len(units) > 0 {
		// `is-enabled` knows no SysV script, and Debian's xl2tpd is one
		fmt.Fprintf(&b, "c units 'systemctl show -p Id,LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic -- %s'\n", strings.ReplaceAll(strings.Join(units, " "), "'", `'\''`))
		fmt.Fprintf(&b, "s unit-names; printf '%%s\\n' %s\n", strings.Join(units, " "))
		fmt.Fprintf(&b, "for u in %s; do n=${u%%.service}; for l in /etc/rc[2-5].d/S[0-9][0-9]\"$n\"; do [ ! -e \"$l\" ] || { s sysv \"$u\"; break; }; done; done\n", strings.Join(units, " "))
	}
	for _, r := range commands {
		if strings.ContainsAny(r.Shell, "'$`") {
			b.WriteString("# shellcheck disable=SC2016 # it is run by another shell\n")
		}
		fmt.Fprintf(&b, "c %s %s\n", transport.Quote(r.Arg), transport.Quote(r.Shell))
	}
	fmt.Fprintf(&b, probeFiles, strings.Join(files, " "), ours)
	if len(have) > 0 {
		lines := ""
		for _, p := range slices.Sorted(maps.Keys(have)) {
			lines += tasks.SHA256(have[p]) + " " + p + "\n"
		}
		fmt.Fprintf(&b, probeHave, lines)
	}
	for _, r := range reads {
		if r.Kind == tasks.ReadGlob {
			fmt.Fprintf(&b, "s glob %s\n", transport.Quote(r.Arg))
		}
	}
	// one tar brings content, mode, owner and time of every file in one go
	b.WriteString("printf '\\n\\001files\\n'\nx=0; [ -z \"$f\" ] || printf '%s\\n' \"$f\" | tar --no-recursion --hard-dereference --no-unquote --verbatim-files-from -cPf - -T - || x=$?\nprintf '\\n\\001end\\t%s\\n' \"$x\"\n")
	// what a hub with many tunnels answers is small when it is packed, and most of a
	// site's answer is the archive's padding
	fmt.Fprintf(&b, "}\nif command -v gzip >/dev/null 2>&1; then printf %s; probe | gzip -1; else probe; fi\n", transport.Quote(strings.TrimSuffix(packedMark, "\n")+`\n`))
	if b.Len() > transport.MaxScript {
		return "", fmt.Errorf("probe: the script has %d bytes, more than one argument takes (%d)", b.Len(), transport.MaxScript)
	}
	return b.String(), nil
}
