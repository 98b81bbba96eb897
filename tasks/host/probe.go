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
n='
'
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
s host uid; v=; while read -r k _ e _; do [ "$k" != Uid: ] || { v=$e; break; }; done </proc/self/status; if [ -n "$v" ]; then printf '%s' "$v"; else id -u; fi
s host now; date +%s
[ ! -d /run/systemd/system ] || s host systemd
for d in /etc /var/lib /run; do [ -w "$d" ] || s host readonly "$d"; done
s host df; df -Pk /etc /usr /var /var/lib/vpnpush /run 2>/dev/null
`

// probePackages collects in $d what dpkg has of packages, as its dpkg-query tells it, which
// takes six times as long, and of conffiles those that are read. A database with a
// journal, or one that is not as dpkg writes it, is left to dpkg-query.
const probePackages = `s package-names; printf '%%s\n' %[1]s
s packages
x=1; set -- /var/lib/dpkg/updates/[0-9]*
[ -e "$1" ] || { d=$(awk -v names=' %[1]s ' -v files=' %[2]s ' '
BEGIN { RS = "" }
substr($0, 1, 9) != "Package: " { exit bad = 1 }
{ name = substr($0, 10, index($0, "\n") - 10) }
name == "dpkg" { arch = $0; sub(/.*\nArchitecture: /, "", arch); sub(/\n.*/, "", arch) }
!index(names, " " name " ") { next }
{
    n = split($0, line, "\n"); state = version = conffiles = ""; on = 0
    for (i = 2; i <= n; i++) {
        split(line[i], word, " ")
        if (line[i] ~ /^ /) { if (on && index(files, " " word[1] " ")) conffiles = conffiles line[i] "\n"; continue }
        on = word[1] == "Conffiles:"
        if (word[1] == "Status:") state = word[4]
        if (word[1] == "Version:") version = word[2]
    }
    printf "%%s\t%%s\t%%s\n%%s\n", name, state, version, conffiles
}
END { if (bad || arch == "") exit 1; printf "\n\001host\tarch\n%%s", arch }' /var/lib/dpkg/status 2>/dev/null); x=$?; }
[ "$x" -eq 0 ] || { d=$(dpkg-query -W -f '${Package}\t${db:Status-Status}\t${Version}\n${Conffiles}\n' %[1]s 2>/dev/null); x=$?; }
printf '%%s' "$d"
# dpkg-query exits with 1 when it does not know one of them
s packages-status "$x"
case $d in *host?arch*) ;; *) s host arch; dpkg --print-architecture 2>/dev/null;; esac
# what apt would install costs as much as all else, and is of interest only for what is
# not there, nor another in its place
m=; for p in %[3]s; do for w in "${p%%%%:*}" "${p#*:}"; do case "$n$d" in *"$n$w	installed	"*) continue 2;; esac; done; m="$m ${p%%%%:*}"; done
# shellcheck disable=SC2086 # it is a list of plain names
[ -z "$m" ] || { set -- $m; c apt-policy "apt-cache policy $*"; }
`

// probeUnits asks systemd of the units that it can know: of one that has no file, it would look
// for that in a dozen folders, and none that runs has no invocation. And `is-enabled` knows no
// SysV script, and Debian's xl2tpd is one.
const probeUnits = `m=
for u in %[1]s; do
    for l in /etc/rc[2-5].d/S[0-9][0-9]"${u%%.service}"; do [ ! -e "$l" ] || { s sysv "$u"; break; }; done
    [ -d /run/systemd/units ] || { m="$m $u"; continue; }
    for l in /etc/systemd/system*/"$u" /run/systemd/*/"$u" /usr/local/lib/systemd/system/"$u" /usr/lib/systemd/system/"$u" /lib/systemd/system/"$u" /run/systemd/units/invocation:"$u"; do
        if [ -e "$l" ] || [ -L "$l" ]; then m="$m $u"; continue 2; fi
    done
    s no-unit "$u"
done
# shellcheck disable=SC2086 # they are plain names
[ -z "$m" ] || { set -- $m; s unit-names; printf '%%s\n' "$@"; c units "systemctl show -p Id,LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic -- $*"; }
`

// probeFiles collects in $f the files that are there, a line each: those that were asked
// for, and those that the manifest has, since what is ours and no longer wanted is known
// by the manifest alone. A hub has thousands: no step may look at all the others.
const probeFiles = `# a FILE: name it if it is there, else say that it is not
a() { if [ -e "$1" ] || [ -L "$1" ]; then printf '%%s\n' "$1"; else s absent "$1" >&4; fi; }
set -- %s
for p; do case $p in *"$n"*) s newline; printf '%%s' "${p%%%%"$n"*}";; esac; done
m=%s; [ -e "$m" ] || m=/dev/null
f=$(IFS=$n; set -f
# shellcheck disable=SC2046 # IFS is a newline
set -- $(printf '%%s\n' "$@" | awk '
NR != FNR && !(sub(/^ *"(path|first)": "/, "") && /^\/[^"\\]*",$/ && sub(/",$/, "")) { next }
!seen[$0]++' - "$m" 2>/dev/null || printf '%%s\n' "$@")
for p; do a "$p"; done)
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

// notExpanded tells shellcheck that a shell which follows in quotes is run by another.
func notExpanded(b *strings.Builder, shell string) {
	if strings.ContainsAny(shell, "'$`") {
		b.WriteString("# shellcheck disable=SC2016 # it is run by another shell\n")
	}
}

// Lean returns the script of a Probe without the lines that are comments alone, for the way
// to a host: it goes there as it is, and is most of what a site's plan puts on the wire.
func Lean(script string) string {
	var b strings.Builder
	for l := range strings.Lines(script) {
		if !strings.HasPrefix(strings.TrimLeft(l, " \t"), "# ") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// plain are the characters of what needs no quotes anywhere.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-_/:"

// addPackage adds a package that is read, once: who wants to know what apt would install of
// it in any case is answered.
func addPackage(packages []tasks.Read, r tasks.Read) []tasks.Read {
	i := slices.IndexFunc(packages, func(p tasks.Read) bool { return p.Arg == r.Arg })
	if i < 0 {
		return append(packages, r)
	}
	if packages[i].Unless == tasks.NotAsked || r.Unless == "" {
		packages[i].Unless = r.Unless
	}
	return packages
}

// Probe makes the one script that brings all of reads, and the platform. It is
// POSIX sh, writes nothing on the host, and holds no secret.
func Probe(reads []tasks.Read, have Have) (string, error) {
	var files, globs, conffiles, units []string
	var packages, sysctls, commands []tasks.Read
	for _, r := range reads {
		if r.Kind == tasks.ReadGlob {
			globs = append(globs, r.Arg)
		}
	}
	ppp := ""
	seen := map[tasks.Read]bool{}
	always := []tasks.Read{
		{Kind: tasks.ReadFile, Arg: "/etc/os-release"}, {Kind: tasks.ReadFile, Arg: "/usr/lib/os-release"},
		{Kind: tasks.ReadFile, Arg: tasks.ManifestPath}, {Kind: tasks.ReadFile, Arg: tasks.RevertFailedPath},
	}
	ours := tasks.ManifestPath
	if slices.Contains(reads, OnlyThese) {
		always, ours = always[:2], "/dev/null"
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
			packages = addPackage(packages, r)
		case tasks.ReadConffile:
			conffiles = append(conffiles, r.Arg)
		case tasks.ReadUnit:
			units = append(units, r.Arg)
		case tasks.ReadSysctl:
			sysctls = append(sysctls, r)
		case tasks.ReadPPP:
			ppp = "if [ -e /dev/ppp ] || modprobe -qn ppp_generic 2>/dev/null; then s host ppp; fi\n"
		case OnlyThese.Kind:
		case tasks.ReadCommand:
			commands = append(commands, r)
		default:
			return "", fmt.Errorf("probe: cannot read a %q", r.Kind)
		}
	}
	sort.Strings(files)

	var b strings.Builder
	b.WriteString(probeHead + ppp)
	for _, r := range sysctls {
		fmt.Fprintf(&b, "r %s sysctl %s\n", transport.Quote(tasks.SysctlPath(r.Arg)), transport.Quote(r.Arg))
	}
	if len(packages) > 0 {
		var names, asked []string
		for _, r := range packages {
			names = append(names, r.Arg)
			switch r.Unless {
			case "":
				asked = append(asked, r.Arg)
			case tasks.NotAsked:
			default:
				asked = append(asked, r.Arg+":"+r.Unless)
			}
		}
		if bad := strings.Trim(strings.Join(append(slices.Concat(names, conffiles), asked...), ""), plain); bad != "" {
			return "", fmt.Errorf("probe: not the name of a package or a conffile: %.60q", bad)
		}
		fmt.Fprintf(&b, probePackages, strings.Join(names, " "), strings.Join(conffiles, " "), strings.Join(asked, " "))
	}
	if len(units) > 0 {
		if bad := strings.Trim(strings.Join(units, ""), plain+"@"); bad != "" {
			return "", fmt.Errorf("probe: not the name of a unit: %.60q", bad)
		}
		fmt.Fprintf(&b, probeUnits, strings.Join(units, " "))
	}
	for _, r := range commands {
		notExpanded(&b, r.Shell)
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
