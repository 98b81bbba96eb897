package engine

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
)

// factsOf answers a probe that found these files, and no others among absent.
func factsOf(t testing.TB, files map[string]string, absent ...string) tasks.Facts {
	t.Helper()
	var b, archive bytes.Buffer
	b.WriteString("vpnpush-facts 1\n\x01host\tuid\n0")
	for _, p := range absent {
		fmt.Fprintf(&b, "\n\x01absent\t%s\n", p)
	}
	tw := tar.NewWriter(&archive)
	for p, c := range files {
		if err := tw.WriteHeader(&tar.Header{Name: p, Mode: 0o600, Size: int64(len(c)), Uname: "root", Gname: "root", Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "\n\x01files\n%s\n\x01end\t0\n", archive.String())
	f, err := host.ParseFacts(b.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const canary = "canary-Iej9ohngeiW2"

// savable is a plan of a hub that changes, a site that is as it should be, and
// one that was not reached.
func savable(t testing.TB) *Plan {
	manifest := `{"format_version":1,"owner":"vps","generation":3,"files":[],"tasks":{}}`
	text := "@tokyo : PSK \"" + canary + "\"\n"
	return &Plan{Hosts: []HostPlan{
		{Name: "vps", Role: "hub", Result: Changed, Facts: factsOf(t, map[string]string{tasks.ManifestPath: manifest}), Changes: []tasks.Change{
			{
				Task: "file:/etc/x", Action: tasks.Update,
				Attrs: []tasks.Attr{{Name: "content", Old: []byte("(secret)"), New: []byte("(secret, changed)")}},
				Pre:   []tasks.Precondition{{Path: "/etc/x", SHA256: tasks.SHA256([]byte(text))}},
				Do:    []tasks.Step{{Phase: tasks.PhaseFiles, Shell: "put /etc/x", Stdin: secret.New(text)}},
			},
			{Task: "file:/etc/y", Action: tasks.Create, Pre: []tasks.Precondition{{Path: "/etc/y"}}},
		}},
		{Name: "osaka", Role: "site", Result: OK, Facts: factsOf(t, nil, tasks.ManifestPath)},
		{Name: "tokyo", Role: "site", Result: Unreachable, Err: errors.New("no route")},
	}}
}

func source() Source {
	return Source{Owner: "vps", Text: []byte("[hub]\n"), Secrets: []secret.Value{secret.New(canary), secret.New("b")}, rounds: 1}
}

// The key of a plan file is made of the secrets with 600,000 rounds, as another
// implementation of PBKDF2 makes it: a plan that was saved by an older vpnpush
// can be applied, and weak passwords cannot be tried out fast.
func TestSavedPlanKey(t *testing.T) {
	salt := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	k, err := Source{Secrets: []secret.Value{secret.New("päss"), secret.New(`a "b"`)}}.sealer(salt)
	if err != nil {
		t.Fatal(err)
	}
	// python3 -c 'import hashlib; print(hashlib.pbkdf2_hmac("sha256", r"""["a \"b\"" "päss"]""".encode(), bytes(range(16)), 600000).hex())'
	const want = "e92256addcfd91b0b96a47019f95d6f9f03df9db37662a067ecb2a56f8205ca4"
	if got := hex.EncodeToString(k); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
}

func save(t testing.TB, p *Plan, src Source, now time.Time) *Saved {
	t.Helper()
	s, err := Save(p, src, "admin@desk", now, plainly{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plainly tells a plan as it is.
type plainly struct{}

func (plainly) Text(s string) string { return s }

func (plainly) Diffs(cs []tasks.Change) (out []string) {
	for _, c := range cs {
		out = append(out, "diff of "+c.Task)
	}
	return out
}

func (plainly) Errors(err error) []SavedError {
	return []SavedError{{Text: err.Error(), Hint: "a hint"}}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// What is saved can be applied as long as nothing moved, and what could not be
// planned comes out as it was, untried.
func TestSavedPlanRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan")
	// a file that others could read must not hand its mode down
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := save(t, savable(t), source(), noon).Write(path); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	s, err := ReadSaved(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	src := source()
	src.Secrets[0], src.Secrets[1] = src.Secrets[1], src.Secrets[0] // their order is no matter
	f, err := s.Check(src, noon.Add(PlanLife))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range f.Hosts([]Host{{Name: "kyoto"}, {Name: "osaka"}, {Name: "tokyo"}, {Name: "vps"}}) {
		names = append(names, h.Name)
	}
	if diff := cmp.Diff([]string{"osaka", "vps"}, names); diff != "" {
		t.Errorf("hosts to look at (-want +got):\n%s", diff)
	}
	now := savable(t)
	now.Hosts = now.Hosts[:2]
	p, fresh, err := f.Compare(now)
	if err != nil || !fresh {
		t.Fatalf("fresh %v, %v: %v", fresh, err, p.Hosts[0].Err)
	}
	if diff := cmp.Diff([]string{"vps changed 2", "osaka ok 0", "tokyo unreachable 0"}, results(p)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func results(p *Plan) []string {
	var out []string
	for _, h := range p.Hosts {
		out = append(out, fmt.Sprintf("%s %s %d", h.Name, h.Result, len(h.Changes)))
	}
	return out
}

// What was shown is in the file, each diff with its own change, so that it can be read
// where it is approved; also what an apply does not compare.
func TestSavedPlanTells(t *testing.T) {
	p := savable(t)
	hub := &p.Hosts[0]
	hub.Warnings = []string{"an old kernel"}
	hub.Changes = append([]tasks.Change{{Task: "tunnel:osaka", Action: tasks.DialTunnel, Note: "to vps"}}, hub.Changes...)
	hub.Changes[2].Blocked, hub.Changes[2].Mend, hub.Changes[2].Ends = "not ours", "--adopt", []string{"tunnel nara"}
	s := save(t, p, source(), noon)
	var got []string
	for _, c := range append(s.Hosts[0].Changes, s.Hosts[0].Dials...) {
		got = append(got, fmt.Sprintf("%s %s %q %q %q %v", c.Action, c.Diff, c.Note, c.Blocked, c.Mend, c.Ends))
	}
	want := []string{
		`update diff of file:/etc/x "" "" "" []`,
		`create diff of file:/etc/y "" "not ours" "--adopt" [tunnel nara]`,
		`dial diff of tunnel:osaka "to vps" "" "" []`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]SavedError{{Text: "no route", Hint: "a hint"}}, s.Hosts[2].Errors); diff != "" || s.Hosts[0].Warnings[0] != "an old kernel" {
		t.Errorf("errors (-want +got):\n%s, warnings %q", diff, s.Hosts[0].Warnings)
	}
}

// A plan that an older vpnpush has saved is applied: its seal is that of a file without
// what was shown.
func TestSavedPlanOfFormat1(t *testing.T) {
	now := savable(t)
	now.Hosts = now.Hosts[:2]
	text, err := os.ReadFile("testdata/plan_format1.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSaved(text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Check(source(), noon)
	if err != nil {
		t.Fatal(err)
	}
	if p, fresh, err := f.Compare(now); err != nil || !fresh {
		t.Errorf("fresh %v, %v: %v", fresh, err, results(p))
	}
}

// Neither a secret nor a digest of it that could be tried out is in the file.
func TestSavedPlanHoldsNoSecret(t *testing.T) {
	p := savable(t)
	b, err := json.Marshal(save(t, p, source(), noon))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"the secret": canary, "the file's digest": p.Hosts[0].Changes[0].Pre[0].SHA256, "the secret's digest": tasks.SHA256([]byte(canary)),
	} {
		if strings.Contains(string(b), text) {
			t.Errorf("%s is in the plan file", what)
		}
	}
	again, err := json.Marshal(save(t, savable(t), source(), noon))
	if err != nil || bytes.Equal(b, again) {
		t.Errorf("two plans have the same digests: %v", err)
	}
}

// A plan is refused for the very thing that is wrong with it, before any host
// is asked.
func TestSavedPlanCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		src   func(*Source)
		file  func(*Saved)
		now   time.Time
		want  string
		stale bool
	}{
		{"inventory", func(s *Source) { s.Text = []byte("[hub]\n#\n") }, nil, noon, "the inventory file has changed", true},
		{"secret", func(s *Source) { s.Secrets = s.Secrets[:1] }, nil, noon, "a secret of the inventory has changed", true},
		{"other inventory", func(s *Source) { s.Owner = "else" }, nil, noon, `of the inventory "vps", this one is "else"`, true},
		{"expired", nil, nil, noon.Add(PlanLife + time.Second), "it expired at 2026-01-03T12:00:00Z", true},
		{"clock", nil, nil, noon.Add(-time.Hour), "yet to come", true},
		{"edited", nil, func(s *Saved) { s.Expires = s.Expires.Add(time.Hour) }, noon, "changed after it was written", false},
		{"diff edited", nil, func(s *Saved) { s.Hosts[0].Changes[0].Diff = "harmless" }, noon, "changed after it was written", false},
		{"host added", nil, func(s *Saved) { s.Hosts[2].Result = OK }, noon, "changed after it was written", false},
		{"no salt", nil, func(s *Saved) { s.Salt = "" }, noon, "no salt", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, src := save(t, savable(t), source(), noon), source()
			if tt.src != nil {
				tt.src(&src)
			}
			if tt.file != nil {
				tt.file(s)
			}
			_, err := s.Check(src, tt.now)
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrStale) != tt.stale {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A host that moved makes the whole plan stale, and is named with what moved.
func TestSavedPlanCompare(t *testing.T) {
	// a tunnel that went down since, or came up, moves no host
	dial := tasks.Change{Task: "tunnel:osaka", Action: tasks.DialTunnel}
	for _, was := range []bool{true, false} {
		then, now := savable(t), savable(t)
		now.Hosts = now.Hosts[:2]
		for _, p := range []*Plan{then, now} {
			if (p == then) == was {
				p.Hosts[1].Result, p.Hosts[1].Changes = Changed, []tasks.Change{dial}
			}
		}
		f, err := save(t, then, source(), noon).Check(source(), noon)
		if err != nil {
			t.Fatal(err)
		}
		if p, fresh, err := f.Compare(now); err != nil || !fresh || len(p.Hosts[1].Changes) != len(now.Hosts[1].Changes) {
			t.Errorf("the tunnel was down: %t; fresh %v, %v: %+v", was, fresh, err, p)
		}
	}
	hub := func(p *Plan) *HostPlan { return &p.Hosts[0] }
	for _, tt := range []struct {
		name, want string
		move       func(*Plan)
	}{
		{"applied meanwhile", "it was applied to since (generation 4, planned on 3)", func(p *Plan) {
			hub(p).Facts = factsOf(t, map[string]string{tasks.ManifestPath: `{"format_version":1,"generation":4}`})
		}},
		{"manifest gone", "its manifest is gone", func(p *Plan) { hub(p).Facts = factsOf(t, nil, tasks.ManifestPath) }},
		{"manifest edited", "its manifest was changed by hand", func(p *Plan) {
			hub(p).Facts = factsOf(t, map[string]string{tasks.ManifestPath: `{"format_version":1,"generation":3}`})
		}},
		{"file edited", "/etc/x is not what it was", func(p *Plan) { hub(p).Changes[0].Pre[0].SHA256 = tasks.SHA256(nil) }},
		{"file came", "/etc/y is not what it was", func(p *Plan) { hub(p).Changes[1].Pre[0].SHA256 = tasks.SHA256(nil) }},
		{"another secret", "file:/etc/x: another change", func(p *Plan) { hub(p).Changes[0].Do[0].Stdin = secret.New("x\n") }},
		{"blocked", "file:/etc/y: another change", func(p *Plan) { hub(p).Changes[1].Blocked = "not ours" }},
		{"action", "file:/etc/y: it was create, and is update now", func(p *Plan) { hub(p).Changes[1].Action = tasks.Update }},
		{"less", "file:/etc/y needs no change any more", func(p *Plan) { hub(p).Changes = hub(p).Changes[:1] }},
		{"more", "file:/etc/z is to change too", func(p *Plan) { hub(p).Changes = append(hub(p).Changes, tasks.Change{Task: "file:/etc/z"}) }},
		{"site", "file:/etc/z is to change too", func(p *Plan) {
			p.Hosts[1].Result, p.Hosts[1].Changes = Changed, []tasks.Change{{Task: "file:/etc/z"}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := save(t, savable(t), source(), noon).Check(source(), noon)
			if err != nil {
				t.Fatal(err)
			}
			now := savable(t)
			now.Hosts = now.Hosts[:2]
			tt.move(now)
			p, fresh, err := f.Compare(now)
			if err != nil || fresh {
				t.Fatalf("fresh %v, %v", fresh, err)
			}
			named := false
			for _, h := range p.Hosts {
				if h.Result == Changed || len(h.Changes) > 0 {
					t.Errorf("%s would be applied to", h.Name)
				}
				if h.Result == Stale {
					named = named || strings.Contains(h.Err.Error(), tt.want)
				}
			}
			if !named {
				t.Errorf("no host says %q: %v, %v", tt.want, p.Hosts[0].Err, p.Hosts[1].Err)
			}
		})
	}
}

// A host that cannot be reached now keeps no other from being applied to.
func TestSavedPlanUnreachableNow(t *testing.T) {
	f, err := save(t, savable(t), source(), noon).Check(source(), noon)
	if err != nil {
		t.Fatal(err)
	}
	now := savable(t)
	now.Hosts = now.Hosts[:2]
	now.Hosts[1] = HostPlan{Name: "osaka", Role: "site", Result: Unreachable, Err: errors.New("no route")}
	p, fresh, err := f.Compare(now)
	if err != nil || !fresh {
		t.Fatalf("fresh %v, %v", fresh, err)
	}
	if diff := cmp.Diff([]string{"vps changed 2", "osaka unreachable 0", "tokyo unreachable 0"}, results(p)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

// What is no plan file is refused with a reason and a mend.
func TestReadSavedRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"empty": "", "other JSON": "[]", "a JSON plan": `{"format_version":"1","command":"plan"}`, "a newer one": `{"format_version":3}`, "of no version": `{"format_version":0}`,
		"an unknown key": `{"format_version":1,"x":1}`, "a host twice": `{"format_version":1,"hosts":[{"name":"a","role":"hub","result":"ok"},{"name":"a","role":"hub","result":"ok"}]}`,
		"another role": `{"format_version":1,"hosts":[{"name":"a","role":"@x","result":"ok"}]}`, "another result": `{"format_version":1,"hosts":[{"name":"a","role":"hub","result":"@x"}]}`,
	} {
		path := filepath.Join(t.TempDir(), "plan")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadSaved(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, %v", what, s, err)
		}
	}
	if _, err := ReadSaved(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzParseSaved(f *testing.F) {
	b, err := json.Marshal(save(f, savable(f), source(), noon))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format_version":1,"hosts":[{"name":"a","changes":[{"pre":null}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSaved(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseSaved(again); err != nil {
			t.Fatalf("what was read is refused when it is written again: %v", err)
		}
	})
}
