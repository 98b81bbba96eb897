package security

import (
	"strings"
	"testing"
	"time"
)

// A version is told by what it lacks on its release, and one that has it all by nothing; what
// the table does not know it does not judge.
func TestPackage(t *testing.T) {
	for _, tt := range []struct {
		release, name, version string
		installed              bool
		says                   string // "" for nothing
	}{
		{"12", "libstrongswan", "5.9.8-5+deb12u6", true, ""},
		{"12", "libstrongswan", "5.9.8-5+deb12u10", true, ""},
		{"12", "libstrongswan", "5.9.8-5+deb12u5", true, "libstrongswan 5.9.8-5+deb12u5 has known holes, which 5.9.8-5+deb12u6 mends (CVE-2026-78135: a tunnel before the peer is authenticated; CVE-2026-78127: "},
		{"12", "libstrongswan", "5.9.8-5", false, "what apt would install, libstrongswan 5.9.8-5 has known holes, which 5.9.8-5+deb12u6 mends (CVE-2026-47895: "},
		{"13", "libstrongswan", "6.0.1-6+deb13u7", true, ""},
		{"13", "libstrongswan", "6.0.1-6+deb13u5", true, "CVE-2026-78133"},
		{"13", "libstrongswan", "6.1.0-2", true, ""},
		{"11", "libstrongswan", "5.9.1-1+deb11u4", true, ""},
		{"sid", "libstrongswan", "5.9.8-5", true, ""},
		{"12", "ppp", "2.4.9-1+1.1+b1", true, ""},
		{"12", "ppp", "2.4.7-2+4", true, "CVE-2020-8597"},
		{"12", "xl2tpd", "1.3.12-1", true, ""},
	} {
		f, ok := Package(tt.release, tt.name, tt.version, tt.installed)
		if ok != (tt.says != "") || !strings.Contains(f.Says, tt.says) {
			t.Errorf("%s of Debian %s, %s: %t, %q, want %q", tt.name, tt.release, tt.version, ok, f.Says, tt.says)
		}
		if ok && (f.Why == "" || f.Mend == "") {
			t.Errorf("half a finding: %+v", f)
		}
	}
}

// The table must be one that can be compared with: versions of their own release, dates that
// are dates, and none after its own.
func TestTable(t *testing.T) {
	for _, h := range holes {
		for release, fixed := range h.fixed {
			if ends[release] == "" || fixed == "" {
				t.Errorf("%s: Debian %q, version %q", h.cve, release, fixed)
			}
			if i := strings.Index(fixed, "+deb"); i >= 0 && !strings.HasPrefix(fixed[i:], "+deb"+release+"u") {
				t.Errorf("%s: %s is not of Debian %s", h.cve, fixed, release)
			}
		}
	}
	for _, d := range []string{Date, ends["11"], ends["12"], ends["13"]} {
		if _, err := time.Parse(time.DateOnly, d); err != nil {
			t.Error(err)
		}
	}
}

// A release is told of once its updates have ended, by the host's clock, or by the day of the
// table where that is behind.
func TestRelease(t *testing.T) {
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, tt := range []struct {
		release, now, says string
	}{
		{"11", "1970-01-01", "Debian 11 has had no security updates since 2026-08-31"},
		{"12", "2028-06-30", ""},
		{"12", "2028-07-02", "since 2028-06-30"},
		{"13", Date, ""},
		{"14", "2040-01-01", ""},
		{"", Date, ""},
	} {
		if f, ok := Release(tt.release, day(tt.now)); ok != (tt.says != "") || !strings.Contains(f.Says, tt.says) {
			t.Errorf("Debian %s on %s: %t, %q", tt.release, tt.now, ok, f.Says)
		}
	}
}

// What no conn needs is told, but not on a host that lets people in by it.
func TestPlugins(t *testing.T) {
	const loaded = "  loaded plugins: charon aes x509 openssl attr stroke updown eap-identity eap-ttls xauth-generic hash farp\n"
	const keys = "Connections:\n       tokyo:   local:  [vps] uses pre-shared key authentication\n"
	f, ok := Plugins(loaded+keys, "ike")
	if want := "charon has loaded plugins that no conn needs: eap-identity, eap-ttls, xauth-generic, farp"; !ok || f.Says != want || !strings.HasSuffix(f.Mend, "systemctl restart ike") {
		t.Errorf("%t %+v", ok, f)
	}
	for _, status := range []string{
		"", keys, "  loaded plugins: charon aes stroke\n" + keys,
		loaded + keys + "        home:   remote: uses EAP_MSCHAPV2 authentication with EAP identity '%any'\n",
		loaded + keys + "       phone:   remote: uses XAuth authentication: any\n",
		loaded + "people: IKEv2, reauthentication every 14400s\n  remote EAP_MSCHAPV2 authentication:\n",
		loaded + "people: IKEv1, reauthentication every 14400s\n  remote XAuth authentication:\n",
	} {
		if f, ok := Plugins(status, "ike"); ok {
			t.Errorf("%q: %+v", status, f)
		}
	}
}
