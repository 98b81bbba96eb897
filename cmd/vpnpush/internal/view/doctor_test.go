package view

import (
	"errors"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks/doctor"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

func diagnoses() *Diagnoses {
	return &Diagnoses{Hosts: []HostDiagnosis{
		{Diagnosis: doctor.Diagnosis{Name: "vps", Role: "hub", Findings: []doctor.Finding{
			{Check: "security", Severity: doctor.Note, What: "charon has loaded plugins that no conn needs: eap-ttls", Why: "what is not loaded has no holes", Mend: "apt-get remove libcharon-extra-plugins"},
		}}, Result: engine.OK},
		{Diagnosis: doctor.Diagnosis{Name: "brest", Role: "site"}, Result: engine.Unreachable,
			Err: transport.WithHint(errors.New("connect to 10.8.0.7:22: i/o timeout"), "is the site's router up?")},
		{Diagnosis: doctor.Diagnosis{Name: "osaka", Role: "site", Unchecked: []string{"packet sizes on the way: the hub does not answer pings"}}, Result: engine.OK},
		{Diagnosis: doctor.Diagnosis{Name: "tokyo", Role: "site", Findings: []doctor.Finding{
			{Check: "udp", Severity: doctor.Problem, What: "from here, UDP 4500 of the hub (203.0.113.10) gives no answer, though charon listens there",
				Why: "IKE starts on UDP 500 and goes on, ESP too, on 4500: without both there is no tunnel", Mend: "let UDP 500 and 4500 through: in the provider's firewall of the hub (its web console), in the site's router, in packet filters on both"},
			{Check: "plan", Severity: doctor.Warning, What: "a host may \x1b[31msay\x07 anything, hunter2hunter2", Why: "plan warns of it"},
		}}, Result: engine.OK},
	}}
}

// The whole of what a doctor says, to people at 80 columns and to programs.
func TestDoctor(t *testing.T) {
	draw := func(v *View) error { return v.Doctor(diagnoses()) }
	goldenPage(t, "doctor.txt", Options{}, draw)
	goldenPage(t, "doctor.json", Options{JSON: true}, draw)
}

// goldenPage compares what draw prints with a golden file: at most 80 columns for people,
// and no secret and no control character for anybody.
func goldenPage(t *testing.T, name string, o Options, draw func(*View) error) {
	t.Helper()
	o.Redact = func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "hunter2hunter2", "(secret)")) }
	stdout, _ := show(o, func(v *View) {
		if err := draw(v); err != nil {
			t.Error(err)
		}
	})
	golden(t, name, stdout)
	for _, l := range strings.Split(stdout, "\n") {
		if !o.JSON && columns(l) > 80 {
			t.Errorf("a line of %d columns: %q", columns(l), l)
		}
	}
	if strings.Contains(stdout, "hunter2") || strings.ContainsAny(stdout, "\x1b\x07") {
		t.Errorf("%s: a secret or a control character gets out:\n%s", name, stdout)
	}
}

// "Nothing found" is said only when everything was looked at.
func TestDoctorLine(t *testing.T) {
	d := diagnoses()
	for want, hosts := range map[string][]HostDiagnosis{
		"Nothing found. 1 host looked at.":                                           {{Result: engine.OK}},
		"Nothing found. 1 host looked at; 1 note.":                                   d.Hosts[:1],
		"Doctor: 1 host, 0 problems, 0 warnings; 1 unreachable.":                     d.Hosts[1:2],
		"Doctor: 1 host, 0 problems, 0 warnings; 1 thing not checked.":               d.Hosts[2:3],
		"Doctor: 4 hosts, 1 problem, 1 warning; 1 unreachable, 1 thing not checked.": d.Hosts,
		"Doctor: 1 host, 0 problems, 0 warnings; 1 failed.":                          {{Result: engine.Failed}},
	} {
		if got := (&Diagnoses{Hosts: hosts}).count().line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
