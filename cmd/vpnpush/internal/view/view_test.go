package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-multierror"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got)\n%s", file, d)
	}
}

// show runs f on a view and gives what went to the two streams.
func show(o Options, f func(*View)) (stdout, stderr string) {
	var out, err bytes.Buffer
	o.Out, o.Err = &out, &err
	f(New(o))
	return out.String(), err.String()
}

func content(s mask.Syntax, old, new string) tasks.Attr {
	bytesOf := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	o, n := mask.Pair(s, bytesOf(old), bytesOf(new))
	return tasks.Attr{Name: "content", Old: o, New: n}
}

func okHost(name, role string) engine.HostPlan {
	return engine.HostPlan{Name: name, Role: role, Result: engine.OK, Took: 900 * time.Millisecond}
}

const conn = "# vpnpush owner=vps. Written by vpnpush: change the inventory, not this file.\n" +
	"conn tokyo\n\tkeyexchange=ikev2\n\tike=aes256-sha256-modp2048!\n\tesp=aes256-sha256!\n\tdpddelay=%s\n\tauto=add\n"

// mixed is a plan of three hosts with every action.
func mixed() *engine.Plan {
	return &engine.Plan{Hosts: []engine.HostPlan{
		{Name: "vps", Role: "hub", Result: engine.Changed, Changes: []tasks.Change{
			{Task: "file:/etc/ipsec.d/vpnpush/tokyo.conf", Action: tasks.Update, Attrs: []tasks.Attr{
				content(mask.Plain, fmt.Sprintf(conn, "60s"), fmt.Sprintf(conn, "30s")),
				{Name: "mode", Old: []byte("0600"), New: []byte("0644")},
			}},
			{Task: "file:/etc/ipsec.d/vpnpush/tokyo.secrets", Action: tasks.Create, Attrs: []tasks.Attr{
				content(mask.IPsecSecrets, "", "# vpnpush owner=vps. Written by vpnpush: change the inventory, not this file.\n@tokyo : PSK \"hush-hush-hush-hush\"\n"),
				{Name: "mode", New: []byte("0600")},
			}},
			{Task: "line:/etc/ipsec.secrets", Action: tasks.Update, Attrs: []tasks.Attr{
				content(mask.IPsecSecrets, "# hush\n: PSK hush", "# hush\n: PSK hush\ninclude /etc/ipsec.d/vpnpush/*.secrets\n"),
			}},
			{Task: "file:/etc/ipsec.d/vpnpush/nara.conf", Action: tasks.Delete, Attrs: []tasks.Attr{
				content(mask.Plain, "conn nara\n\tauto=add\n", ""),
			}},
			{Task: "ipsec:strongswan-starter.service", Action: tasks.Reload, Attrs: []tasks.Attr{{Name: "conns", Old: []byte("nara, tokyo"), New: []byte("tokyo")}}},
		}},
		{Name: "osaka", Role: "site", Result: engine.Changed, Warnings: []string{"its clock is 3 minutes behind"}, Changes: []tasks.Change{
			{Task: "package:strongswan-starter", Action: tasks.Install, Attrs: []tasks.Attr{{Name: "version", New: []byte("5.9.8-5+deb12u1")}}},
			{Task: "sysctl:net.ipv4.ip_forward", Action: tasks.Update, Attrs: []tasks.Attr{{Name: "value", Old: []byte("0"), New: []byte("1")}}},
			{Task: "unit:strongswan-starter.service", Action: tasks.Restart, Note: "it started before its configuration was written"},
		}},
		okHost("tokyo", "site"),
	}}
}

func hundred() *engine.Plan {
	p := &engine.Plan{Hosts: []engine.HostPlan{okHost("vps", "hub")}}
	for i := range 99 {
		h := okHost(fmt.Sprintf("site-%02d", i), "site")
		if i%40 == 7 {
			h.Result = engine.Changed
			h.Changes = []tasks.Change{{Task: "sysctl:net.ipv4.ip_forward", Action: tasks.Update, Attrs: []tasks.Attr{{Name: "value", Old: []byte("0"), New: []byte("1")}}}}
		}
		p.Hosts = append(p.Hosts, h)
	}
	return p
}

var (
	errDial = transport.WithHint(fmt.Errorf("connect to 10.8.0.7:22: %w", errors.New("i/o timeout")), "is the site's router up? `ssh -v 10.8.0.7` shows more")
	errRun  = fmt.Errorf("read facts: %w", &transport.ExitError{Code: 2, Stderr: []byte("sh: 3: Syntax error\nsecond \x1b[31mline\r\n\nlast line\n")})
)

func trouble() *engine.Plan {
	return &engine.Plan{Hosts: []engine.HostPlan{
		{Name: "vps", Role: "hub", Result: engine.Changed, Changes: []tasks.Change{{
			Task: "file:/etc/xl2tpd/xl2tpd.conf", Action: tasks.Update,
			Blocked: "a file stands there that vpnpush did not write", Mend: "look at the diff; `vpnpush apply --adopt` backs it up and replaces it",
			Attrs: []tasks.Attr{content(mask.Plain, "[global]\r\nport = 1701\x1b[2J\n", "[global]\nport = 1701\n")},
		}}},
		{Name: "brest", Role: "site", Result: engine.Unreachable, Err: errDial},
		{Name: "lyon", Role: "site", Result: engine.Failed, Err: errRun},
		okHost("paris", "site"),
	}}
}

// cutShort is a plan of a hundred hosts that was interrupted, with a dead hub before some
// of them.
func cutShort() *engine.Plan {
	p := &engine.Plan{Hosts: []engine.HostPlan{{Name: "vps", Role: "hub", Result: engine.Unreachable, Err: errDial}}}
	for i := range 99 {
		h := engine.HostPlan{Name: fmt.Sprintf("site-%02d", i), Role: "site", Result: engine.Skipped, Err: errors.New("interrupted before being read")}
		switch {
		case i < 5:
			h.Result, h.Err = engine.Unreachable, transport.WithHint(fmt.Errorf("connect to %s (192.168.%d.10:22): jump: %w", h.Name, i, errDial), "is the site's router up?")
		case i < 8:
			h = okHost(h.Name, "site")
		}
		p.Hosts = append(p.Hosts, h)
	}
	return p
}

// losing is a plan that takes things away on many hosts, and changes the packet filter's
// file and the filter alike on one and not on another.
func losing() *engine.Plan {
	rules := func(fileRest, live string) []tasks.Change {
		return []tasks.Change{
			{Task: "file:/etc/iptables/rules.v4", Action: tasks.Update, Attrs: []tasks.Attr{content(mask.Plain, "*filter\n:INPUT ACCEPT [0:0]\n-A VPNPUSH-IN -p esp -j ACCEPT\nCOMMIT\n", "*filter\n:INPUT ACCEPT [0:0]\n-A VPNPUSH-IN -s 203.0.113.10/32 -p esp -j ACCEPT\n"+fileRest)}},
			{Task: "firewall:live", Action: tasks.Update, Attrs: []tasks.Attr{content(mask.Plain, "*filter\n-A VPNPUSH-IN -p esp -j ACCEPT\n", live)}},
		}
	}
	p := &engine.Plan{Hosts: []engine.HostPlan{
		{Name: "vps", Role: "hub", Result: engine.Changed, Changes: append(rules("COMMIT\n# end\n", "*filter\n-A VPNPUSH-IN -s 203.0.113.10/32 -p esp -j ACCEPT\n"),
			tasks.Change{Task: "l2tp:sessions", Action: tasks.Delete, Note: "new password: bob", Ends: []string{"session of bob (192.168.200.20 on ppp1)"}},
			tasks.Change{Task: "file:/etc/xl2tpd/xl2tpd.conf", Action: tasks.Delete, Blocked: "it was edited", Mend: "look at it"},
			tasks.Change{Task: "ipsec:loaded", Action: tasks.Reload, Ends: []string{"tunnel nara"}},
			tasks.Change{Task: "unit:xl2tpd.service", Action: tasks.Restart})},
		{Name: "osaka", Role: "site", Result: engine.Changed, Changes: rules("COMMIT\n", "*filter\n-A VPNPUSH-IN -j DROP\n-A VPNPUSH-IN -s 203.0.113.10/32 -p esp -j ACCEPT\n")},
	}}
	for i := range 98 {
		name := fmt.Sprintf("site-%02d", i)
		h := engine.HostPlan{Name: name, Role: "site", Result: engine.Changed, Changes: []tasks.Change{
			{Task: "file:/etc/old", Action: tasks.Delete}, {Task: "ipsec:loaded", Action: tasks.Reload, Blinks: []string{name}}}}
		if i < 20 {
			h.Changes[0].Task = "file:/etc/old-" + name
		}
		p.Hosts = append(p.Hosts, h)
	}
	return p
}

// rotated is a plan in which only secrets differ.
func rotated() *engine.Plan {
	return &engine.Plan{Hosts: []engine.HostPlan{
		{Name: "vps", Role: "hub", Result: engine.Changed, Changes: []tasks.Change{
			{Task: "block:/etc/ppp/chap-secrets", Action: tasks.Update, Attrs: []tasks.Attr{content(mask.ChapSecrets,
				"# mine: hush\nbob * hush *\n# vpnpush begin owner=vps\n\"alice\" l2tpd \"hush-1\" 192.168.200.10\n# vpnpush end\n",
				"# mine: hush\nbob * hush *\n# vpnpush begin owner=vps\n\"alice\" l2tpd \"hush-2\" 192.168.200.10\n# vpnpush end\n")}},
		}},
	}}
}

func report() *engine.Report {
	to := func(peer string) strongswan.Tunnel { return strongswan.Tunnel{Conn: peer, Peer: peer} }
	return &engine.Report{Hosts: []engine.HostReport{
		{Name: "vps", Role: "hub", Result: engine.Changed, Changes: mixed().Hosts[0].Changes, Warnings: []string{"ufw is installed"}, Took: 75 * time.Second,
			Tunnels: []strongswan.TunnelState{
				{Tunnel: to("tokyo"), Up: true, SAs: 2, Peer: "198.51.100.7:4500"},
				{Tunnel: to("osaka"), Why: "no IKE SA"},
			}},
		{Name: "brest", Role: "site", Result: engine.Unreachable, Err: errDial},
		{Name: "lyon", Role: "site", Result: engine.RolledBack, Err: errRun, Changes: mixed().Hosts[1].Changes},
		{Name: "nice", Role: "site", Result: engine.Skipped, Err: errors.New("the canary lyon rolled back")},
		{Name: "tokyo", Role: "site", Result: engine.OK, Took: 2 * time.Second, Tunnels: []strongswan.TunnelState{{Tunnel: to("vps"), Up: true, SAs: 1, Peer: "203.0.113.10:4500"}}},
	}}
}

// What people see, whole, at 80 columns without colour. No golden file holds
// "hush", which every secret here has in it, nor a control character.
func TestHuman(t *testing.T) {
	match := &engine.Plan{Hosts: []engine.HostPlan{okHost("vps", "hub"), okHost("osaka", "site"), okHost("tokyo", "site")}}
	one := &engine.Plan{Hosts: mixed().Hosts[1:2]}
	tests := map[string]func(*View) error{
		"plan_one.txt":        func(v *View) error { return v.Plan(one) },
		"plan_mixed.txt":      func(v *View) error { return v.Plan(mixed()) },
		"plan_hundred.txt":    func(v *View) error { return v.Plan(hundred()) },
		"plan_trouble.txt":    func(v *View) error { return v.Plan(trouble()) },
		"plan_cut_short.txt":  func(v *View) error { return v.Plan(cutShort()) },
		"plan_losing.txt":     func(v *View) error { return v.Plan(losing()) },
		"plan_secret.txt":     func(v *View) error { return v.Plan(rotated()) },
		"plan_no_changes.txt": func(v *View) error { return v.Plan(match) },
		"apply_report.txt":    func(v *View) error { return v.Report(report(), ReportOptions{Command: "apply"}) },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			out, stderr := show(Options{}, func(v *View) {
				if err := f(v); err != nil {
					t.Error(err)
				}
			})
			golden(t, name, out)
			if stderr != "" {
				t.Errorf("on stderr: %q", stderr)
			}
			if strings.Contains(out, "hush") || strings.ContainsAny(out, "\x1b\r") {
				t.Errorf("a secret or a control character is shown:\n%q", out)
			}
		})
	}
}

// The document, byte for byte, and that its keys are those of docs/output.md:
// scripts depend on them.
func TestJSON(t *testing.T) {
	tests := map[string]func(*View) error{
		"plan_mixed.json":   func(v *View) error { return v.Plan(mixed()) },
		"plan_trouble.json": func(v *View) error { return v.Plan(trouble()) },
		"apply_report.json": func(v *View) error { return v.Report(report(), ReportOptions{Command: "apply"}) },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			out, stderr := show(Options{JSON: true, Color: "always"}, func(v *View) {
				if err := f(v); err != nil {
					t.Error(err)
				}
			})
			golden(t, name, out)
			golden(t, name+".stderr", stderr)
			if strings.Contains(out+stderr, "hush") || strings.ContainsAny(out+stderr, "\x1b\r") {
				t.Errorf("a secret or a control character is shown:\n%q", out)
			}
			var doc struct {
				FormatVersion string `json:"format_version"`
				Command       string `json:"command"`
				Hosts         []struct {
					Name, Role, Result, Error string
					Changes                   []struct{ Task, Action, State, Diff string }
				}
				Shard    *Shard
				Summary  struct{ Hosts, OK, Changed, Unreachable, Failed, Changes int }
				ExitCode int `json:"exit_code"`
			}
			d := json.NewDecoder(strings.NewReader(out))
			d.DisallowUnknownFields()
			if err := d.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Token(); err != io.EOF {
				t.Error("more than one document")
			}
			if doc.FormatVersion != "1" || len(doc.Hosts) != doc.Summary.Hosts {
				t.Errorf("format_version %q, %d hosts, summary says %d", doc.FormatVersion, len(doc.Hosts), doc.Summary.Hosts)
			}
		})
	}
}

// A rollback says where it went back to, and each verb that changes hosts its own
// name; a script tells them by that.
func TestJSONCommand(t *testing.T) {
	one := &engine.Report{Hosts: report().Hosts[4:]}
	back := &engine.Rollback{Before: "20260102T060405-00000001", After: []string{"20260102T090405-00000004"}}
	out, _ := show(Options{JSON: true}, func(v *View) { v.Report(one, ReportOptions{Command: "rollback", Rollback: back}) })
	golden(t, "rollback_report.json", out)
	out, _ = show(Options{JSON: true}, func(v *View) { v.Report(one, ReportOptions{Command: "remove"}) })
	if want := strings.Replace(mustJSON(t, one), `"apply"`, `"remove"`, 1); out != want {
		t.Errorf("(-want +got)\n%s", cmp.Diff(want, out))
	}
}

func mustJSON(t *testing.T, r *engine.Report) string {
	t.Helper()
	out, _ := show(Options{JSON: true}, func(v *View) { v.Report(r, ReportOptions{Command: "apply"}) })
	if !json.Valid([]byte(out)) {
		t.Fatalf("not JSON: %s", out)
	}
	return out
}

// The redactor sees all that is printed, on both streams and in both forms,
// also where JSON escapes a secret and where colour surrounds it.
func TestRedact(t *testing.T) {
	const known = `q"uo\te`
	o := Options{Color: "always", Redact: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(known), []byte("(secret)")) }}
	leak := tasks.Change{Task: "x:" + known, Action: tasks.Update, Note: known, Blocked: known, Mend: known,
		Attrs: []tasks.Attr{{Name: "content", Old: []byte(known), New: []byte("a\n" + known)}, {Name: "value", New: []byte(known)}}}
	err := transport.WithHint(errors.New("it said "+known), "try %s", known)
	use := func(v *View) {
		v.Plan(&engine.Plan{Hosts: []engine.HostPlan{{Name: "vps", Result: engine.Failed, Err: err, Changes: []tasks.Change{leak}, Warnings: []string{known}}}})
		v.Report(&engine.Report{Hosts: []engine.HostReport{{Name: "vps", Result: engine.Failed, Err: err, Changes: []tasks.Change{leak}, Warnings: []string{known},
			Tunnels: []strongswan.TunnelState{{Why: known}}}}}, ReportOptions{Command: "rollback", Rollback: &engine.Rollback{Before: known, After: []string{known}}})
		v.Observe(engine.Event{Host: "vps", Stage: "read", Message: known})
		faults := inventory.Diagnostics{{File: known, Summary: known, Mend: known}}
		v.Diagnostics(faults)
		v.Validate(Validation{File: known, Diagnostics: faults})
		v.Init(Started{File: known, Recipients: []string{known}, Notes: []string{known}})
		v.Render(Rendering{Folder: known, Files: []Rendered{{Host: known, Path: known}}})
		v.Map(Drawing{Bytes: []byte(known)})
		v.Note(known)
		v.Prompt(known)()
		v.Error(err)
		v.Confirm(strings.NewReader("no\n"), known)
	}
	for _, o.JSON = range []bool{false, true} {
		for _, o.Verbose = range []bool{false, true} {
			out, stderr := show(o, use)
			for _, form := range []string{known, `q\"uo\\te`} {
				if strings.Contains(out+stderr, form) {
					t.Errorf("json=%t verbose=%t: shown as %s in\n%s%s", o.JSON, o.Verbose, form, out, stderr)
				}
			}
			if !strings.Contains(out, "(secret)") || !strings.Contains(stderr, "(secret)") {
				t.Errorf("json=%t: nothing was redacted in\n%s%s", o.JSON, out, stderr)
			}
		}
	}
}

// Colour: on a terminal, unless NO_COLOR is set; always and never as they say.
func TestColor(t *testing.T) {
	tests := map[string]struct {
		o    Options
		want bool
	}{
		"pipe":                 {Options{}, false},
		"terminal":             {Options{OutIsTerminal: true}, true},
		"NO_COLOR":             {Options{OutIsTerminal: true, NoColorEnv: true, Color: "auto"}, false},
		"never":                {Options{OutIsTerminal: true, Color: "never"}, false},
		"always, into a pipe":  {Options{Color: "always", NoColorEnv: true}, true},
		"stderr is a terminal": {Options{ErrIsTerminal: true}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plain, _ := show(Options{}, func(v *View) { v.Plan(mixed()) })
			out, _ := show(tt.o, func(v *View) { v.Plan(mixed()) })
			if strings.Contains(out, "\x1b[32m") != tt.want {
				t.Errorf("colour %t, want %t", !tt.want, tt.want)
			}
			for _, s := range []style{bold, red, green, yellow, purple, cyan, "\x1b[0m"} {
				out = strings.ReplaceAll(out, string(s), "")
			}
			if out != plain {
				t.Errorf("colour changed the text (-plain +coloured)\n%s", cmp.Diff(plain, out))
			}
		})
	}
}

// What ended the run, once, with its hint, and each of several.
func TestError(t *testing.T) {
	tests := map[string]struct {
		err  error
		want string
	}{
		"hint":         {errDial, "vpnpush: connect to 10.8.0.7:22: i/o timeout\nvpnpush: hint: is the site's router up? `ssh -v 10.8.0.7` shows more\n"},
		"whole stderr": {errRun, "vpnpush: read facts: exit status 2\n  sh: 3: Syntax error\n  second [31mline\n\n  last line\nvpnpush: hint: that is what the host's own program said: mend it there, and run this again\n"},
		"joined":       {errors.Join(errDial, errors.New("b")), "vpnpush: connect to 10.8.0.7:22: i/o timeout\nvpnpush: hint: is the site's router up? `ssh -v 10.8.0.7` shows more\nvpnpush: b\n"},
		"multierror":   {multierror.Append(nil, errors.New("a"), errors.New("b")), "vpnpush: a\nvpnpush: b\n"},
		"two in one":   {fmt.Errorf("%w and %w", errors.New("a"), errors.New("b")), "vpnpush: a and b\n"},
		"many lines":   {errors.New("a\nb"), "vpnpush: a\n  b\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, stderr := show(Options{}, func(v *View) { v.Error(tt.err) })
			if d := cmp.Diff(tt.want, stderr); d != "" || out != "" {
				t.Errorf("stdout %q, stderr (-want +got)\n%s", out, d)
			}
		})
	}
}

// An error that nobody has given a mend has that of its kind, and only one that says what
// is to be done has none.
func TestGeneralMend(t *testing.T) {
	_, missing := os.ReadFile(filepath.Join(t.TempDir(), "none"))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{transport.WithHint(transport.ErrLost, "its own"), "its own"},
		{fmt.Errorf("read facts: %w: broken pipe", transport.ErrLost), "run it again"},
		{fmt.Errorf("read facts: %w", transport.ErrEndless), "What a host may take"},
		{errRun, "mend it there"},
		{fmt.Errorf("check x: %w: not read", tasks.ErrUnknown), "nothing is guessed"},
		{fmt.Errorf("write metrics: %w", missing), "no such file or folder on this machine"},
		{&os.PathError{Op: "open", Path: "/x", Err: os.ErrPermission}, "you may not"},
		{&os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, "free some room"},
		{&os.PathError{Op: "write", Path: "/x", Err: syscall.EIO}, "what this machine said"},
		{fmt.Errorf("x: %w: key expired", transport.ErrHostKey), "docs/ssh.md"},
		{errors.New("not applied"), ""},
	} {
		if got := explain(tt.err).hint; (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%v: hint %q, want %q", tt.err, got, tt.want)
		}
	}
}

// Only the word yes is a yes, and what follows the answer stays to be read.
func TestConfirm(t *testing.T) {
	for in, want := range map[string]bool{"yes\n": true, "yes\r\n": true, "yes": true, "y\n": false, "YES\n": false, "yes please\n": false, "\n": false, "": false} {
		r := strings.NewReader(in + "")
		_, stderr := show(Options{}, func(v *View) {
			got, err := v.Confirm(r, ApplyQuestion)
			if got != want || err != nil {
				t.Errorf("%q: %t, %v, want %t", in, got, err, want)
			}
		})
		if !strings.HasPrefix(stderr, ApplyQuestion) {
			t.Errorf("%q: on stderr: %q", in, stderr)
		}
	}
	r := strings.NewReader("yes\nrest")
	show(Options{}, func(v *View) { v.Confirm(r, ApplyQuestion) })
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("left to read: %q", rest)
	}
}

// A result that could not be written is an error: a full disk must not look
// like a host that matches.
func TestWriteError(t *testing.T) {
	for _, json := range []bool{false, true} {
		v := New(Options{Out: full{}, Err: io.Discard, JSON: json})
		if v.Plan(mixed()) == nil || v.Report(report(), ReportOptions{Command: "apply"}) == nil {
			t.Errorf("json=%t: no error", json)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestSummaryLine(t *testing.T) {
	host := func(r engine.Result) engine.HostPlan { return engine.HostPlan{Name: "x", Role: "site", Result: r} }
	tests := map[string][]engine.HostPlan{
		"No changes. 1 host matches the inventory.":                                                 {host(engine.OK)},
		"No changes. 3 hosts match the inventory.":                                                  {host(engine.OK), host(engine.OK), host(engine.OK)},
		"Plan: 2 hosts, 0 to create, 0 to update, 0 to delete; 1 unreachable.":                      {host(engine.OK), host(engine.Unreachable)},
		"Plan: 2 hosts, 0 to create, 0 to update, 0 to delete; 1 failed, 1 locked.":                 {host(engine.Locked), host(engine.Failed)},
		"Plan: 3 hosts, 2 to create, 3 to update, 1 to delete, 1 to reload, 1 to restart.":          mixed().Hosts,
		"Plan: 4 hosts, 0 to create, 0 to update, 0 to delete; 1 unreachable, 1 failed, 1 blocked.": trouble().Hosts,
		"Plan: 1 host, 0 to create, 0 to update, 0 to delete, 1 to dial.": {{Name: "x", Role: "site", Result: engine.Changed,
			Changes: []tasks.Change{{Task: "tunnel:x", Action: tasks.DialTunnel}}}},
	}
	for want, hosts := range tests {
		out, _ := show(Options{}, func(v *View) { v.Plan(&engine.Plan{Hosts: hosts}) })
		lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
		if got := lines[len(lines)-1]; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
