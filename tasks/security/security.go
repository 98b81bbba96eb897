// Package security knows which versions of Debian's packages mend holes in what vpnpush
// sets up, and until when a release of Debian gets such versions. It is a table of a day,
// from Debian's changelogs: Date says which.
package security

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Date is the day that the table is of.
const Date = "2026-11-28"

// hole is a fault that others than the admin can use, in a part of a package that vpnpush's
// tunnels or L2TP run. Faults of parts that they do not run are left out: EAP's methods,
// TLS, RADIUS, PKCS#7, attribute certificates.
type hole struct {
	pkg, cve, what string
	fixed          map[string]string // the version that mends it, by Debian's release
}

// holes are in the order in which they are told, the worst of a package first. xl2tpd has
// had none since before Debian 11. What Debian 11's last updates of strongSwan mend is in no
// changelog that is still to be had, so it has no row: see ended.
var holes = []hole{
	{"libstrongswan", "CVE-2026-47895", "memory freed twice for an empty identity, before the peer is authenticated",
		map[string]string{"12": "5.9.8-5+deb12u5", "13": "6.0.1-6+deb13u6"}},
	{"libstrongswan", "CVE-2026-78135", "a tunnel before the peer is authenticated",
		map[string]string{"12": "5.9.8-5+deb12u6", "13": "6.0.1-6+deb13u7"}},
	{"libstrongswan", "CVE-2026-78133", "memory used after it was freed, in rekeying",
		map[string]string{"13": "6.0.1-6+deb13u7"}},
	{"libstrongswan", "CVE-2026-78127", "memory lost by logging IKE messages",
		map[string]string{"12": "5.9.8-5+deb12u6", "13": "6.0.1-6+deb13u7"}},
	{"ppp", "CVE-2020-8597", "a buffer overflow before the user is authenticated",
		map[string]string{"11": "2.4.7-2+4.1", "12": "2.4.7-2+4.1", "13": "2.4.7-2+4.1"}},
}

// ends are the days on which Debian's releases get their last updates, LTS counted in.
var ends = map[string]string{"11": "2026-08-31", "12": "2028-06-30", "13": "2030-06-30"}

// Finding is a sentence on what is wrong with a host's programs.
type Finding struct{ Says, Why, Mend string }

// Package returns what is wrong with a version of a package on a release of Debian; false:
// nothing that the table knows of.
func Package(release, name, version string, installed bool) (Finding, bool) {
	mended := ""
	var has []string
	for _, h := range holes {
		fixed := h.fixed[release]
		if h.pkg != name || fixed == "" || Compare(version, fixed) >= 0 {
			continue
		}
		has = append(has, h.cve+": "+h.what)
		if mended == "" || Compare(mended, fixed) < 0 {
			mended = fixed
		}
	}
	if has == nil {
		return Finding{}, false
	}
	f := Finding{
		Says: fmt.Sprintf("%s %s has known holes, which %s mends (%s)", name, version, mended, strings.Join(has, "; ")),
		Why:  "whoever can send packets to the host may use them; the table of this program is of " + Date,
		Mend: "apt-get update && apt-get install --only-upgrade " + name,
	}
	if !installed {
		f.Says = "what apt would install, " + f.Says
		f.Mend = "apt-get update, and see that Debian's security updates are in /etc/apt/sources.list"
	}
	return f, true
}

// Release returns what is wrong with a release of Debian itself, at the time now by a host's
// clock; false: nothing.
func Release(release string, now time.Time) (Finding, bool) {
	end, err := time.Parse(time.DateOnly, ends[release])
	if err != nil {
		return Finding{}, false // none that is known
	}
	table, _ := time.Parse(time.DateOnly, Date)
	if table.After(now) {
		now = table // a clock that is behind
	}
	if !now.After(end.AddDate(0, 0, 1)) {
		return Finding{}, false
	}
	return Finding{
		Says: fmt.Sprintf("Debian %s has had no security updates since %s", release, ends[release]),
		Why:  "the holes that were found since then stay open",
		Mend: "upgrade the host to a later release of Debian, one after the other",
	}, true
}

// authenticating are the beginnings of the names of charon's plugins that speak with a peer
// before it is authenticated; acting are those that act on the network by themselves.
var (
	authenticating = []string{"eap-", "xauth-", "tnc-"}
	acting         = []string{"dhcp", "farp", "forecast", "ha", "unity"}
)

// asksPeople is a line on a conn whose peers are people, as either of charon's listings
// has it.
var asksPeople = regexp.MustCompile(`( uses (EAP|XAuth)|^(local|remote) (EAP|XAuth).* authentication:$)`)

// Plugins returns a note on plugins that charon has loaded and that no conn needs, by what
// charon says of itself; false: none. Service is what is to be restarted without them.
// vpnpush's own conns authenticate by keys alone. A host where another conn asks for EAP
// or XAuth serves people by it: nothing is told there.
func Plugins(status, service string) (Finding, bool) {
	var loaded []string
	for l := range strings.Lines(status) {
		l = strings.TrimSpace(l)
		if rest, ok := strings.CutPrefix(l, "loaded plugins: "); ok {
			loaded = strings.Fields(rest)
		}
		if asksPeople.MatchString(l) {
			return Finding{}, false
		}
	}
	var idle []string
	for _, p := range loaded {
		for _, a := range authenticating {
			if strings.HasPrefix(p, a) {
				idle = append(idle, p)
			}
		}
		for _, a := range acting {
			if p == a {
				idle = append(idle, p)
			}
		}
	}
	if idle == nil {
		return Finding{}, false
	}
	return Finding{
		Says: "charon has loaded plugins that no conn needs: " + strings.Join(idle, ", "),
		Why:  "what is not loaded has no holes: a third of those found in strongSwan in 2026 were in such plugins",
		Mend: "if nothing else needs them: apt-get remove libcharon-extra-plugins libcharon-extauth-plugins; " +
			"or load = no in charon.plugins.NAME of strongswan.conf; then, at a quiet hour, for all tunnels are made anew: systemctl restart " + service,
	}, true
}
