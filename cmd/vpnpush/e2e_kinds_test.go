package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
	"github.com/vpnpush/vpnpush/tasks"
)

// footprint is all that a removal must leave as it was before the first apply: every
// file and link below /etc with its mode and owner, live rules but for their counters,
// and which services run and are enabled.
const footprint = `
cd /etc
find . -type f -exec sha256sum {} + | sort -k 2
find . \( -type l -o -type d \) -printf '%p %l\n' | sort
find . -printf '%p %m %u:%g\n' | sort
iptables-save 2>/dev/null | grep -v '^#' | sed 's/\[[0-9]*:[0-9]*\]//' | grep -v -e '^\*' -e '^COMMIT' -e '^:[A-Z]* ACCEPT $' || :
for u in strongswan-starter strongswan xl2tpd netfilter-persistent; do echo "$u $(systemctl is-active $u) $(systemctl is-enabled $u 2>/dev/null | tail -n 1)"; done
systemctl list-units --all --plain --no-legend 'vpnpush-*'
ls -A /var/lib/vpnpush /run/vpnpush /etc/ipsec.d/vpnpush 2>/dev/null || :
`

// manifestOf reads the manifest of a host.
func manifestOf(t *testing.T, l *lab.Lab, host string) *tasks.Manifest {
	t.Helper()
	var m tasks.Manifest
	if err := json.Unmarshal([]byte(l.MustRun(host, "cat", tasks.ManifestPath)), &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// Every kind of task there is, applied to a hub with every layer and taken off again:
// the host is byte for byte as before, the package's own xl2tpd.conf and what runs
// included.
func TestE2EKindsLeaveNothing(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}}})
	b.write(t, l, trueLab, dave)
	before := l.MustRun("vps", "sh", "-c", footprint)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	kinds := kindsOn(t, l, "vps")
	// a site has the one: TestE2ESiteLeavesNothing; the other is of ipsec.conf
	want := slices.DeleteFunc(slices.Sorted(slices.Values(tasks.Kinds())), func(k string) bool {
		return k == "helper" || k == "line" && b.name != byStarter.name
	})
	if !slices.Equal(kinds, want) {
		t.Errorf("applied were tasks of the kinds %v, there are %v", kinds, want)
	}
	if during := l.MustRun("vps", "sh", "-c", footprint); during == before {
		t.Fatal("an apply leaves no trace: the footprint sees nothing")
	}
	r := vpnpush(t, l, 0, "remove", "vps", "--yes")
	for _, say := range []string{"- delete firewall:live", "- delete file:" + b.conf("tokyo"), "- delete block:/etc/ppp/chap-secrets", "- delete ipsec:loaded", "- delete file:/etc/iptables/rules.v4"} {
		if !strings.Contains(r.Stdout, say) {
			t.Errorf("the removal does not show %q:\n%s", say, r.Stdout)
		}
	}
	if after := l.MustRun("vps", "sh", "-c", footprint); after != before {
		t.Errorf("left behind, or taken along:\n%s", lineDiff(before, after))
	}
}

// What only a site has goes as well: the service that watches its tunnel, and the folder
// that strongSwan's unit has for it.
func TestE2ESiteLeavesNothing(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Suite: "trixie", Layer: b.layer}}})
	b.write(t, l, labHub, labTokyo)
	before := l.MustRun("tokyo", "sh", "-c", footprint)
	vpnpush(t, l, 0, "apply", "--yes")
	if kinds := kindsOn(t, l, "tokyo"); !slices.Contains(kinds, "helper") {
		t.Errorf("applied were tasks of the kinds %v", kinds)
	}
	r := vpnpush(t, l, 0, "remove", "tokyo", "--yes")
	for _, say := range []string{"- delete helper:vpnpush-redial.service", "- delete settings:charon", "- delete ipsec:loaded"} {
		if !strings.Contains(r.Stdout, say) {
			t.Errorf("the removal does not show %q:\n%s", say, r.Stdout)
		}
	}
	if after := l.MustRun("tokyo", "sh", "-c", footprint); after != before {
		t.Errorf("left behind, or taken along:\n%s", lineDiff(before, after))
	}
}

// kindsOn returns the kinds of the tasks that a host's manifest has, sorted.
func kindsOn(t *testing.T, l *lab.Lab, host string) []string {
	t.Helper()
	kinds := map[string]bool{}
	for _, e := range manifestOf(t, l, host).Tasks {
		kinds[e.Kind] = true
	}
	return slices.Sorted(maps.Keys(kinds))
}

// lineDiff returns the lines that only one of two texts has.
func lineDiff(a, b string) string {
	var out strings.Builder
	only := func(sign, a, b string) {
		has := map[string]bool{}
		for l := range strings.Lines(b) {
			has[l] = true
		}
		for l := range strings.Lines(a) {
			if !has[l] {
				out.WriteString(sign + l)
			}
		}
	}
	only("-", a, b)
	only("+", b, a)
	return out.String()
}

// A filter that is switched off goes, and does not stay live for good. A host on which
// an earlier version has forgotten its chains is told of them and healed, by an apply
// as by a removal.
func TestE2EFilterGoes(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}}})
	const none = "[firewall]\nbackend = \"none\"\n"
	chains := func() string {
		return l.MustRun("vps", "sh", "-c", "iptables-save | grep VPNPUSH; grep -s VPNPUSH /etc/iptables/rules.v4; true")
	}
	// forget makes the manifest what an earlier version left of it
	forget := func() {
		m := manifestOf(t, l, "vps")
		m.Tasks = slices.DeleteFunc(m.Tasks, func(e tasks.Entry) bool { return e.Kind == "firewall" || e.Kind == "rules" })
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		l.Put("vps", tasks.ManifestPath, string(b))
	}
	filtered := func() {
		t.Helper()
		b.write(t, l, labHub, labTokyo)
		vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
		if chains() == "" {
			t.Fatal("there are no chains to take away")
		}
	}
	gone := func(how string) {
		t.Helper()
		if left := chains(); left != "" {
			t.Errorf("%s: these stay:\n%s", how, left)
		}
	}

	filtered()
	b.write(t, l, labHub, labTokyo, none)
	r := vpnpush(t, l, 2, "plan", "--detailed-exitcode", "--limit", "vps")
	for _, say := range []string{"- delete file:/etc/iptables/rules.v4", "- delete firewall:live"} {
		if !strings.Contains(r.Stdout, say) {
			t.Errorf("no %q in the plan:\n%s", say, r.Stdout)
		}
	}
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	gone("switched off")
	if r := vpnpush(t, l, 0, "plan", "--limit", "vps"); !strings.HasPrefix(r.Stdout, "No changes.") {
		t.Errorf("a second plan is not empty:\n%s", r.Stdout)
	}

	filtered()
	forget()
	b.write(t, l, labHub, labTokyo, none)
	if r := vpnpush(t, l, 2, "plan", "--detailed-exitcode", "--limit", "vps"); !strings.Contains(r.Stdout+r.Stderr, "that no manifest has") || !strings.Contains(r.Stdout, "- delete firewall:live") {
		t.Errorf("forgotten chains are not told of:\n%s\n%s", r.Stdout, r.Stderr)
	}
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	gone("forgotten, then applied")
	if r := vpnpush(t, l, 0, "plan", "--limit", "vps"); !strings.HasPrefix(r.Stdout, "No changes.") {
		t.Errorf("a second plan is not empty:\n%s", r.Stdout)
	}

	filtered()
	forget()
	vpnpush(t, l, 0, "remove", "vps", "--yes")
	gone("forgotten, then removed")
}

// A host that a version with manifest format 1 applied to is as it should be: no plan
// wants anything of it, drift is silent, the next apply writes the new format, and a
// removal takes all of it off.
func TestE2EManifestFormat1(t *testing.T) {
	starterOnly(t, "the version that wrote format 1 knew no other")
	t.Parallel()
	b := byStarter
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}}})
	l.MustRun("vps", "rm", "-f", "/etc/iptables/rules.v4") // format 1 does not know that it was there, and empty
	before := l.MustRun("vps", "sh", "-c", footprint)
	b.write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	generation := format1(t, l)

	if r := vpnpush(t, l, 0, "plan", "--limit", "vps"); !strings.HasPrefix(r.Stdout, "No changes.") {
		t.Errorf("a plan is not empty:\n%s", r.Stdout)
	}
	// that the tunnel is down is true: there is no tokyo here
	if r := vpnpush(t, l, 2, "drift", "--limit", "vps"); strings.Contains(r.Stdout, "  drifted  ") || strings.Contains(r.Stdout, "  pending  ") {
		t.Errorf("drift:\n%s", r.Stdout)
	} else {
		mustSay(t, r, "down     tunnel:tokyo", "at once: `vpnpush apply --limit", "strongswan-starter` at both ends")
	}
	b.write(t, l, labHub, labTokyo, labOsaka)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	if m := manifestOf(t, l, "vps"); m.FormatVersion != 2 || m.Generation != generation+1 {
		t.Errorf("after an apply: format %d, generation %d", m.FormatVersion, m.Generation)
	}
	format1(t, l)
	vpnpush(t, l, 0, "remove", "vps", "--yes")
	if after := l.MustRun("vps", "sh", "-c", footprint); after != before {
		t.Errorf("left behind, or taken along:\n%s", lineDiff(before, after))
	}
}

// format1 writes the manifest of vps as an earlier version did, and returns its
// generation.
func format1(t *testing.T, l *lab.Lab) int {
	t.Helper()
	m := manifestOf(t, l, "vps")
	type file struct {
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
		Mode   uint32 `json:"mode"`
	}
	old := struct {
		FormatVersion int               `json:"format_version"`
		Owner         string            `json:"owner"`
		Host          string            `json:"host"`
		Generation    int               `json:"generation"`
		Files         []file            `json:"files"`
		Tasks         map[string]string `json:"tasks"`
	}{1, m.Owner, m.Host, m.Generation, nil, map[string]string{}}
	for _, e := range m.Tasks {
		if slices.Contains([]string{"keys", "lines", "settings", "helper"}, e.Kind) { // which came later
			continue
		}
		old.Tasks[e.ID] = e.Digest
		if e.Kind == "file" {
			old.Files = append(old.Files, file{e.Path, e.SHA256, uint32(e.Mode)})
		}
	}
	b, err := json.MarshalIndent(old, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	l.Put("vps", tasks.ManifestPath, string(b)+"\n")
	return m.Generation
}
