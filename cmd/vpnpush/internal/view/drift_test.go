package view

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

var (
	at     = time.Date(2026, 11, 23, 4, 0, 7, 0, time.UTC)
	before = time.Date(2026, 11, 20, 4, 0, 2, 0, time.UTC)
)

// starter is what runs strongSwan on the hosts of these tests.
var starter = tasks.Daemon{Unit: "strongswan-starter.service"}

// drifted is a report with all that can be in one.
func drifted() (*engine.Drift, DriftOptions) {
	tunnel := strongswan.TunnelState{Tunnel: strongswan.Tunnel{Conn: "osaka", Peer: "vps"}, Why: "no IKE SA"}
	rule := &engine.Ignore{Reason: "the provider's monitoring, ticket 4711", Until: time.Date(2026, 12, 1, 0, 0, 0, 0, time.Local)}
	old := &engine.Ignore{Reason: "until the move", Until: time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local)}
	return &engine.Drift{At: at, Hosts: []engine.HostDrift{
		{Name: "vps", Role: "hub", Result: engine.Pending, Looked: at, Findings: []engine.Finding{
			{State: engine.FindingPending, Change: &tasks.Change{Task: "file:/etc/ipsec.d/vpnpush/nara.conf", Action: tasks.Create, Attrs: []tasks.Attr{content(mask.Plain, "", "conn nara\n")}}},
			{State: engine.FindingDrifted, Ignored: rule, Change: &tasks.Change{Task: "sysctl:net.ipv4.conf.all.rp_filter", Action: tasks.Update, Attrs: []tasks.Attr{{Name: "value", Old: []byte("1"), New: []byte("2")}}}},
		}},
		{Name: "brest", Role: "site", Result: engine.Unreachable, Err: transport.WithHint(errors.New("connect to brest (10.8.0.7:22): i/o timeout after 10s"), "is it on?")},
		{Name: "kobe", Role: "site", Result: engine.Locked, Looked: at, Busy: host.Work{Pending: "20261123T035900-ab12", Holder: "root@laptop, apply 20261123T035900-ab12", Since: at.Add(-time.Minute)}},
		{Name: "nice", Role: "site", Result: engine.OK, Looked: at, Security: 1, Warnings: []string{"ppp 2.4.7-2 has known holes: apt-get update"}},
		{Name: "osaka", Role: "site", Result: engine.Drifted, Looked: at, Daemon: starter, Tunnels: []strongswan.TunnelState{tunnel}, Findings: []engine.Finding{
			{State: engine.FindingDrifted, Edited: before, Change: &tasks.Change{Task: "file:/etc/ipsec.d/vpnpush/osaka.secrets", Action: tasks.Update, Attrs: []tasks.Attr{
				content(mask.IPsecSecrets, "@vps : PSK \"evil\"\n", "@vps : PSK \"not-a-secret\"\n"),
				{Name: "mode", Old: []byte("0644"), New: []byte("0600")}}}},
			{State: engine.FindingDown, Change: &tasks.Change{Task: "tunnel:osaka", Note: "to vps", Attrs: []tasks.Attr{{Name: "state", Old: []byte("down, no IKE SA"), New: []byte("up")}}}},
		}},
		{Name: "tokyo", Role: "site", Result: engine.Drifted, Looked: at, Tunnels: []strongswan.TunnelState{{Tunnel: strongswan.Tunnel{Conn: "tokyo", Peer: "vps"}, Up: true}}, Findings: []engine.Finding{
			{State: engine.FindingDrifted, Also: true, Edited: before, Change: &tasks.Change{Task: "file:/etc/ipsec.d/vpnpush/tokyo.conf", Action: tasks.Update, Attrs: []tasks.Attr{
				content(mask.Plain, strings.ReplaceAll(conn, "%s", "300s\x1b[31m"), strings.ReplaceAll(conn, "%s", "30s"))}}},
			{State: engine.FindingDrifted, Expired: old, Change: &tasks.Change{Task: "unit:netfilter-persistent.service", Action: tasks.Update, Attrs: []tasks.Attr{{Name: "enabled", Old: []byte("no"), New: []byte("yes")}}}},
			{State: engine.FindingDrifted, Change: &tasks.Change{Task: "file:/etc/sysctl.d/60-vpnpush.conf", Action: tasks.Create, Attrs: []tasks.Attr{
				content(mask.Plain, "", "a\nb\n"), {Name: "mode", New: []byte("0644")}}}},
			{State: engine.FindingDrifted, Change: &tasks.Change{Task: "firewall:live", Action: tasks.Update, Attrs: []tasks.Attr{
				content(mask.Plain, strings.Repeat("-A VPNPUSH-IN -s 192.0.2.1/32 -j ACCEPT\n", 20), "-A VPNPUSH-IN -j ACCEPT\n")}}},
		}},
	}}, DriftOptions{Inventory: "acme", Last: map[string]LastSeen{"brest": {Checked: before, OK: before}, "kobe": {Checked: before}, "tokyo": {Checked: before, OK: before}}}
}

// What cron mails, what a program reads, and what Prometheus scrapes.
func TestDriftGolden(t *testing.T) {
	for name, o := range map[string]Options{
		"drift.txt": {}, "drift_verbose.txt": {Verbose: true}, "drift.json": {JSON: true},
	} {
		out, err := show(o, func(v *View) {
			d, opt := drifted()
			if err := v.Drift(d, opt); err != nil {
				t.Error(err)
			}
		})
		golden(t, name, out)
		if name == "drift.json" && !json.Valid([]byte(out)) {
			t.Error("not JSON")
		}
		if name != "drift.json" && err != "" {
			t.Errorf("%s: on standard error: %q", name, err)
		}
		for _, bad := range []string{"evil", "not-a-secret", "\x1b"} {
			if strings.Contains(out+err, bad) {
				t.Errorf("%s shows %q", name, bad)
			}
		}
	}
	golden(t, "drift.prom", string(DriftMetrics(drifted())))
}

// Nothing is printed when all is well, not a newline, or cron would mail it;
// what is ignored is no reason to. JSON is always a document.
func TestDriftSilent(t *testing.T) {
	d := &engine.Drift{At: at, Hosts: []engine.HostDrift{{Name: "vps", Role: "hub", Result: engine.OK, Looked: at, Warnings: []string{"its clock is late"},
		Findings: []engine.Finding{{State: engine.FindingDrifted, Change: &tasks.Change{}, Ignored: &engine.Ignore{Until: at.Add(time.Hour)}}}}}}
	if out, err := show(Options{}, func(v *View) { v.Drift(d, DriftOptions{}) }); out+err != "" {
		t.Errorf("printed %q, %q", out, err)
	}
	out, _ := show(Options{JSON: true}, func(v *View) { v.Drift(d, DriftOptions{}) })
	var doc driftDocument
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Summary.OK != 1 || doc.Summary.Changes != 0 || doc.Hosts[0].Changes[0].State != "ignored" {
		t.Errorf("%v\n%s", err, out)
	}
}

// The metrics of a shard stand beside those of the others: no series is in two files.
func TestDriftMetricsOfShard(t *testing.T) {
	got := string(DriftMetrics(&engine.Drift{At: at}, DriftOptions{Inventory: "x", Shard: "3/8"}))
	if want := `vpnpush_drift_last_run_timestamp_seconds{inventory="x",shard="3/8"} `; !strings.Contains(got, want) {
		t.Errorf("no %s in\n%s", want, got)
	}
}

// A label is what a host is called, whatever that is: a name must not end it.
func TestDriftMetricsLabels(t *testing.T) {
	d := &engine.Drift{At: at, Hosts: []engine.HostDrift{{Name: "a\"} 1\n\\", Role: "site", Result: engine.OK, Looked: at}}}
	got := string(DriftMetrics(d, DriftOptions{Inventory: "x"}))
	if want := `vpnpush_drift_host_checked{inventory="x",host="a\"} 1\n\\",role="site"} 1`; !strings.Contains(got, want+"\n") {
		t.Errorf("no %s in\n%s", want, got)
	}
}

func running() *engine.Status {
	subnets := func(s ...string) []string { return s }
	return &engine.Status{At: at, Asked: []engine.HostStatus{{Name: "vps", Role: "hub", Result: engine.OK, Beside: []string{"/etc/ppp/chap-secrets:4 is not vpnpush's: olduser logs in through its xl2tpd"}}},
		Tunnels: []engine.TunnelStatus{
			{Site: "berlin-north", Asked: "vps", Up: true, SAs: 2, Since: at.Add(-50 * time.Hour), Peer: "203.0.113.53:4500", BytesUp: 1 << 40, BytesDown: 12345678,
				HubSubnets: subnets("10.10.0.0/24"), SiteSubnets: subnets("10.30.0.0/16", "192.168.3.0/24")},
			{Site: "osaka", Asked: "vps", Why: "selectors differ: have 10.10.0.0/24 === 192.168.2.0/25, want 10.10.0.0/24 === 192.168.2.0/24",
				HubSubnets: subnets("10.10.0.0/24"), SiteSubnets: subnets("192.168.2.0/24")},
			{Site: "tokyo", Asked: "vps", Up: true, SAs: 1, Since: at.Add(-42 * time.Second), Peer: "203.0.113.51", BytesUp: 1023, BytesDown: 1024,
				HubSubnets: subnets("10.10.0.0/24"), SiteSubnets: subnets("192.168.1.0/24")},
		},
		Sessions: []tasks.Session{
			{Interface: "ppp1", Address: "192.168.200.2", BytesIn: 7, BytesOut: 9},
			{Interface: "ppp0", User: "alice", Address: "192.168.200.10", From: "198.51.100.7", Since: at.Add(-3 * time.Hour), BytesIn: 5 << 20, BytesOut: 999 << 10},
		},
		Shared: []string{"198.51.100.7"},
	}
}

// The tables, with everything up and down in them, and how they look when the
// hub cannot be asked.
func TestStatusGolden(t *testing.T) {
	lost := &engine.Status{At: at,
		Asked: []engine.HostStatus{{Name: "vps", Role: "hub", Result: engine.Unreachable, Err: errors.New("connect to vps (203.0.113.10:22): i/o timeout after 10s")}, {Name: "osaka", Role: "site", Result: engine.Unreachable, Err: errors.New("no route to host")}, {Name: "tokyo", Role: "site", Result: engine.OK}},
		Tunnels: []engine.TunnelStatus{
			{Site: "osaka", Why: "neither the hub nor the site could be asked"},
			{Site: "tokyo", Asked: "tokyo", Up: true, SAs: 1, Since: at.Add(-time.Minute), Peer: "203.0.113.10", HubSubnets: []string{"10.10.0.0/24"}, SiteSubnets: []string{"192.168.1.0/24"}},
		}}
	for name, c := range map[string]struct {
		o Options
		s *engine.Status
	}{
		"status.txt": {Options{}, running()}, "status_verbose.txt": {Options{Verbose: true}, running()},
		"status.json": {Options{JSON: true}, running()}, "status_no_hub.txt": {Options{}, lost},
	} {
		out, _ := show(c.o, func(v *View) {
			if err := v.Status(c.s, StatusOptions{Inventory: "acme", L2TP: true}); err != nil {
				t.Error(err)
			}
		})
		golden(t, name, out)
	}
}

// A refresh fits the terminal, and says how much it leaves out.
func TestStatusRefresh(t *testing.T) {
	out, _ := show(Options{}, func(v *View) { v.Status(running(), StatusOptions{Inventory: "acme", Refresh: true, Height: 6}) })
	if n := strings.Count(out, "\n"); n > 5 {
		t.Errorf("%d lines on a terminal of 6", n)
	}
	if !strings.HasPrefix(out, "\x1b[H") || !strings.HasSuffix(out, "\x1b[J") || !strings.Contains(out, "more lines") {
		t.Errorf("%q", out)
	}
}
