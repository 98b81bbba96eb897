package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// DriftMetrics returns a drift as metrics in Prometheus' text format, for the
// textfile collector of node_exporter. The times are what makes silence
// trustworthy: alert on one that grows old.
func DriftMetrics(d *engine.Drift, o DriftOptions) []byte {
	var b strings.Builder
	label := func(s string) string {
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(clean(s))
	}
	inventory := fmt.Sprintf(`inventory="%s"`, label(o.Inventory))
	head := func(name, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name) }
	perHost := func(name, help string, value func(*engine.HostDrift) (string, bool)) {
		head(name, help)
		for i := range d.Hosts {
			h := &d.Hosts[i]
			if v, ok := value(h); ok {
				fmt.Fprintf(&b, "%s{%s,host=\"%s\",role=\"%s\"} %s\n", name, inventory, label(h.Name), label(h.Role), v)
			}
		}
	}
	flag := func(b bool) string {
		if b {
			return "1"
		}
		return "0"
	}
	seconds := func(t time.Time) (string, bool) { return fmt.Sprint(t.Unix()), !t.IsZero() }

	head("vpnpush_drift_last_run_timestamp_seconds", "When drift was last run.")
	run := inventory
	if o.Shard != "" { // beside those of the other shards
		run += fmt.Sprintf(`,shard="%s"`, o.Shard)
	}
	fmt.Fprintf(&b, "vpnpush_drift_last_run_timestamp_seconds{%s} %d\n", run, d.At.Unix())
	perHost("vpnpush_drift_host_checked", "Whether the host was judged in the last run.",
		func(h *engine.HostDrift) (string, bool) { return flag(h.Checked()), true })
	perHost("vpnpush_drift_host_last_checked_timestamp_seconds", "When the host was last judged.",
		func(h *engine.HostDrift) (string, bool) { return seconds(lastOf(h, o.Last[h.Name]).Checked) })
	perHost("vpnpush_drift_host_last_ok_timestamp_seconds", "When the host was last as it should be.",
		func(h *engine.HostDrift) (string, bool) { return seconds(lastOf(h, o.Last[h.Name]).OK) })

	const findings = "vpnpush_drift_host_findings"
	head(findings, "What is not as it should be on a host that was judged, by state.")
	for i := range d.Hosts {
		h := &d.Hosts[i]
		if !h.Checked() {
			continue
		}
		n := map[string]int{}
		for _, f := range h.Findings {
			if f.Ignored != nil {
				n["ignored"]++
			} else {
				n[string(f.State)]++
			}
		}
		for _, state := range []string{"drifted", "pending", "down", "ignored"} {
			fmt.Fprintf(&b, "%s{%s,host=\"%s\",role=\"%s\",state=\"%s\"} %d\n", findings, inventory, label(h.Name), label(h.Role), state, n[state])
		}
	}
	perHost("vpnpush_host_security_findings", "How many packages have known holes that an upgrade mends; a Debian without updates counts one.",
		func(h *engine.HostDrift) (string, bool) { return fmt.Sprint(h.Security), h.Checked() })
	head("vpnpush_tunnel_up", "Whether a child SA of the tunnel is installed with the wanted selectors, as its host sees it.")
	for i := range d.Hosts {
		for _, t := range d.Hosts[i].Tunnels {
			fmt.Fprintf(&b, "vpnpush_tunnel_up{%s,host=\"%s\",tunnel=\"%s\",peer=\"%s\"} %s\n",
				inventory, label(d.Hosts[i].Name), label(t.Tunnel.Conn), label(t.Tunnel.Peer), flag(t.Up))
		}
	}
	return []byte(b.String())
}
