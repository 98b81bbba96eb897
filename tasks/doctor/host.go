package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
)

// socket is a UDP port that is listened on.
type socket struct {
	port string
	by   []string // names of programs; nil: not told
}

var socketUser = regexp.MustCompile(`\("([^"]*)",pid=`)

// parseSockets parses `ss -H -lunp` (ss(8)):
// "UNCONN 0 0 0.0.0.0:4500 0.0.0.0:* users:(("charon",pid=737,fd=13))".
func parseSockets(b []byte) []socket {
	out := []socket{}
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) < 5 {
			continue
		}
		s := socket{port: f[3][strings.LastIndex(f[3], ":")+1:]}
		for _, m := range socketUser.FindAllStringSubmatch(l, -1) {
			s.by = append(s.by, m[1])
		}
		out = append(out, s)
	}
	return out
}

// listensOn reports whether an IKE daemon has the port.
func (x *hostChecks) listensOn(port int) bool {
	return slices.ContainsFunc(x.sockets, func(s socket) bool {
		return s.port == fmt.Sprint(port) && slices.ContainsFunc(s.by, isCharon)
	})
}

func isCharon(name string) bool { return strings.HasPrefix(name, "charon") }

// ports looks at who has the ports of IKE and L2TP.
func (x *hostChecks) ports() {
	if x.sockets == nil {
		return
	}
	told := map[string]bool{}
	for _, s := range x.sockets {
		ours := isCharon
		switch {
		case s.port == "500", s.port == "4500":
		case s.port == "1701" && x.L2TP:
			ours = func(name string) bool { return name == "xl2tpd" }
		default:
			continue
		}
		who := strings.Join(s.by, ", ")
		if s.by == nil {
			who = "a program that ss does not name"
		}
		if slices.ContainsFunc(s.by, ours) || told[s.port+who] {
			continue
		}
		told[s.port+who] = true
		x.find("ports", Problem, "two daemons cannot have one port: ours gets no packets, or does not start",
			"stop it and keep it from starting again: systemctl disable --now UNIT", "UDP %s belongs to %s", s.port, who)
	}
	m, err := tasks.ReadManifest(x.Facts)
	if err != nil {
		x.skip("whether charon should run", err)
		return
	}
	if m != nil && (!x.listensOn(500) || !x.listensOn(4500)) {
		service := x.Daemon.Service()
		x.find("ports", Problem, "without it there is no IKE, and no tunnel",
			fmt.Sprintf("journalctl -u %s -n 50; then: systemctl restart %s", service, service),
			"vpnpush has set this host up, but charon does not listen on UDP 500 and 4500")
	}
}

// kernel looks for what the kernel needs for ESP.
func (x *hostChecks) kernel() {
	if len(x.up)+len(x.into) > 0 {
		return // a tunnel that is up is proof
	}
	out, ok := x.output(readKernel, "the kernel's modules")
	if !ok {
		return
	}
	is := map[string]string{}
	for l := range strings.Lines(string(out)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(l), " "); ok {
			is[k] = v
		}
	}
	var missing, off []string
	for _, m := range []string{"esp4", "xfrm_user"} {
		switch is[m] {
		case "no":
			missing = append(missing, m)
		case "off":
			off = append(off, m)
		}
	}
	const why = "the kernel encrypts what a tunnel carries: IKE succeeds, and no tunnel comes up"
	if is["libipsec"] != "" {
		return // charon does it in user space, or may
	}
	if off != nil {
		x.find("kernel", Problem, why, "grep -r "+off[0]+" /etc/modprobe.d /usr/lib/modprobe.d; take the line out, if its reason has gone",
			"%s may not be loaded: a line of modprobe.d switches it off", strings.Join(off, " and "))
	}
	switch {
	case missing == nil:
	case is["running"] == "no" && is["kernels"] != "0":
		x.find("kernel", Problem, why, "reboot the host",
			"the modules of the running kernel, %s, are gone from the disk: another has been installed since the boot", x.Facts.Host.Kernel)
	case is["running"] == "no":
		x.find("kernel", Problem, why, "if this is a container, load "+strings.Join(missing, " and ")+" on its machine, or use a virtual machine",
			"there are no kernel modules here, and the kernel lacks %s", strings.Join(missing, " and "))
	default:
		x.find("kernel", Problem, why, "install Debian's own kernel (linux-image-"+x.Facts.Host.Arch+"), and reboot",
			"the kernel %s has no %s", x.Facts.Host.Kernel, strings.Join(missing, " and no "))
	}
}

// names looks for apt's mirrors.
func (x *hostChecks) names() {
	out, ok := x.output(readMirrors, "the names of apt's mirrors")
	if !ok {
		return
	}
	var lost []string
	for l := range strings.Lines(string(out)) {
		if name, v, _ := strings.Cut(strings.TrimSpace(l), " "); v == "no" {
			lost = append(lost, name)
		}
	}
	if lost == nil {
		return
	}
	s, why := Warning, "no security updates come in"
	if p, err := x.Facts.Package(x.Daemon.Package); err == nil && !p.Installed {
		s, why = Problem, "an apply installs strongSwan from there"
	}
	x.find("dns", s, why, "see that /etc/resolv.conf names a resolver that answers: getent hosts "+lost[0],
		"apt's mirror %s has no address here", strings.Join(lost, ", "))
}

// Lines that shellAppArmor prints: its own, and the kernel's (security/apparmor/audit.c).
var (
	loaded = regexp.MustCompile(`^loaded ([0-9.]+) (.*)`)
	denial = regexp.MustCompile(`audit\(([0-9.]+):\d+\): apparmor="DENIED" operation="([^"]*)".* profile="([^"]*)"(?:.* name="([^"]*)")?`)
)

// denied is something that AppArmor has kept a daemon from.
type denied struct{ profile, operation, name string }

// parseDenials returns each denial once, less those from before the profile was
// loaded anew: they may be mended.
func parseDenials(b []byte) []denied {
	var out []denied
	since := map[string]float64{}
	for l := range strings.Lines(string(b)) {
		if m := loaded.FindStringSubmatch(l); m != nil {
			since[m[2]], _ = strconv.ParseFloat(m[1], 64)
		} else if m := denial.FindStringSubmatch(l); m != nil {
			at, _ := strconv.ParseFloat(m[1], 64)
			file, _, _ := strings.Cut(m[3], "//") // a profile in another is loaded with that
			if d := (denied{profile: m[3], operation: m[2], name: m[4]}); at >= since[file] && !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

func (x *hostChecks) apparmor() {
	out, ok := x.output(readAppArmor, "what AppArmor denied")
	if !ok {
		return
	}
	for i, d := range parseDenials(out) {
		if i == 5 {
			break // the first show what it is about
		}
		s := Warning
		if strings.HasPrefix(d.name, "/etc/") {
			s = Problem // its configuration
		}
		local := "/etc/apparmor.d/local/" + strings.ReplaceAll(strings.TrimPrefix(d.profile, "/"), "/", ".")
		x.find("apparmor", s, "what a daemon cannot read it does without: a conn or a secret is missing, and only the kernel's log says why",
			"allow it in "+local+", then: systemctl reload apparmor",
			"AppArmor has denied %s: %s", d.profile, strings.TrimSpace(d.operation+" "+d.name))
	}
}
