package roles

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// releases are those that Bares tells apart. Later ones are as the last.
var releases = []string{"11", "12", "13"}

// Bares returns what a bare host may be, a Debian that has nothing of what is read there
// but for packages that nobody has configured: a value for each daemon that it may get by
// its release. The last is for later releases, too.
func (h Host) Bares() []tasks.BareHost {
	var out []tasks.BareHost
	for _, release := range releases {
		f := h.bare(release)
		b := h.backend(f)
		if i := slices.IndexFunc(out, func(o tasks.BareHost) bool { return o.Daemon.Name == b.Name }); i >= 0 {
			out[i].Releases = append(out[i].Releases, release)
			continue
		}
		out = append(out, tasks.BareHost{Releases: []string{release}, Daemon: b.Daemon, Facts: f, Supposed: h.supposed(b), Watch: b.dialShell + "\n" + b.carriesShell})
	}
	return out
}

// bare returns the facts of a Debian that has nothing of what is read there. What its
// kernel's parameters are is not known.
func (h Host) bare(release string) tasks.Facts {
	k := nothing(h.Reads())
	k.Host = tasks.Platform{OS: map[string]string{"ID": "debian", "VERSION_ID": release}, Systemd: true}
	return tasks.NewFacts(k)
}

// nothing returns what a probe brings of a host where nothing is of what is read.
func nothing(reads []tasks.Read) tasks.Known {
	k := tasks.Known{
		Files: map[string]tasks.FileState{tasks.ManifestPath: {Path: tasks.ManifestPath}}, Globs: map[string]bool{},
		Packages: map[string]tasks.PackageState{}, Units: map[string]tasks.UnitState{}, Sysctls: map[string]tasks.SysctlState{}, Commands: map[string]tasks.CommandState{},
	}
	for _, r := range reads {
		switch r.Kind {
		case tasks.ReadFile:
			k.Files[r.Arg] = tasks.FileState{Path: r.Arg}
		case tasks.ReadGlob:
			k.Globs[r.Arg] = true
		case tasks.ReadPackage:
			k.Packages[r.Arg] = tasks.PackageState{Name: r.Arg}
		case tasks.ReadUnit:
			k.Units[r.Arg] = tasks.UnitState{Name: r.Arg, Active: "inactive"}
		case tasks.ReadSysctl:
			k.Sysctls[r.Arg] = tasks.SysctlState{Exists: true}
		case tasks.ReadCommand:
			out := tasks.CommandState{Code: 127}
			if r == readFiles || r == readOtherIPsec { // the shell's own
				out = tasks.CommandState{}
			}
			k.Commands[r.Arg] = out
		}
	}
	return k
}

// mendBare is the mend where a host is not bare.
const mendBare = "a bare box has nothing of the kind"

// supposed returns what must be so on a host that is supposed to be bare: what Preflight,
// and what the tasks that a bare host does not need, would look for in facts.
func (h Host) supposed(b backend) []tasks.Supposed {
	out := slices.Concat(roomSupposed(), b.supposed, h.filter.supposed)
	for _, r := range h.Reads() {
		if r.Kind == tasks.ReadGlob {
			out = append(out, tasks.Supposed{Mend: mendBare, Shell: fmt.Sprintf(`for f in %s; do if there "$f" && ! as_packaged "$f"; then echo "$f is there"; fi; done`, r.Arg)})
		}
	}
	for _, s := range b.swaps() {
		from := transport.Quote(s.From.Unit)
		out = append(out, tasks.Supposed{Mend: mendBare, Shell: fmt.Sprintf(
			`if systemctl --quiet is-active %[1]s || systemctl --quiet is-enabled %[1]s 2>/dev/null; then echo "%[2]s runs strongSwan here, and %[3]s is to"; fi`,
			from, s.From.Unit, s.To.Unit)})
	}
	for _, r := range h.filter.rivals {
		out = append(out, tasks.Supposed{Mend: r.mend, Shell: fmt.Sprintf("if systemctl --quiet is-active %s; then echo %s; fi", transport.Quote(r.unit), transport.Quote(r.says))})
	}
	units := []string{b.Unit}
	for _, u := range h.filter.units {
		units = append(units, u.Name)
	}
	for _, u := range units {
		out = append(out, tasks.Supposed{Mend: "systemctl unmask " + u, Shell: fmt.Sprintf(`case $(systemctl is-enabled %s 2>/dev/null) in masked*) echo "somebody has masked %s" ;; esac`, transport.Quote(u), u)})
	}
	if h.role == inventory.RoleSite && h.site.Address.IsValid() {
		out = append(out, tasks.Supposed{
			Mend: "give this box that address first; or set address of the site to one that it has, and make a new script",
			Shell: fmt.Sprintf(`ip -o -4 addr show | awk -v want=%s '{ sub(/\/.*/, "", $4); if ($4 == want) found = 1; if ($2 != "lo") have = have (have ? ", " : "") $4 }
END { if (!found) print "no interface has " want "; this box has " (have ? have : "no address but loopback") }'`, h.site.Address),
		})
	}
	return out
}

// roomSupposed wants what Preflight wants of room for packages.
func roomSupposed() []tasks.Supposed {
	return []tasks.Supposed{{Mend: "free some: apt-get clean and journalctl --vacuum-size=50M often help", Shell: fmt.Sprintf(
		`for d in /var /usr; do df -Pk "$d" | awk -v d="$d" 'NR == 2 && $4 < %[1]d { print $4 " KiB are free for " d ", packages take %[1]d KiB" }'; done`, roomPackages)}}
}

// listedBare is what must be so of what starter-files.sh lists.
func listedBare(files tasks.Read) tasks.Supposed {
	return tasks.Supposed{Mend: mendBare, Shell: "(\n" + strings.TrimPrefix(files.Shell, "# shellcheck shell=sh\n") + `) | awk -F '\t' '
$1 == "file" { f = $2 }
$1 == "key" || $1 == "out" { print f ":" $2 ": a key" }
$1 == "line" && $3 ~ /^conn/ { print f ":" $2 ": " $3 }
$1 == "unread" || $1 == "cut" { print "the files of strongSwan cannot be read" }'`}
}
