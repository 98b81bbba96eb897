package inventory

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// choices makes choices of bytes, the first of each where they have run out.
type choices struct{ left []byte }

func (c *choices) of(n int) int {
	if len(c.left) == 0 {
		return 0
	}
	b := c.left[0]
	c.left = c.left[1:]
	return int(b) % n
}

func (c *choices) one(of ...string) string { return of[c.of(len(of))] }

// shapes writes an inventory in ways of TOML that were chosen. A comment "# of NAME"
// goes with what has the name, "# keep" stays whatever goes.
type shapes struct {
	*choices
	kept int
}

func (s *shapes) keep() string { s.kept++; return fmt.Sprintf("# keep %d.\n", s.kept) }

func (s *shapes) key(name string) string { return s.one(name, `"`+name+`"`, "'"+name+"'") }

// text returns an inventory with the sites and users of those names.
func (s *shapes) text(sites, users []string) string {
	var root, tables []string
	s.kind(&root, &tables, []string{"sites"}, sites, func(name string) [][2]string {
		i := slices.Index(sites, name)
		return [][2]string{
			{"subnets", fmt.Sprintf(s.one(`["10.%d.0.0/24"]`, "[ # there\n  \"10.%d.0.0/24\", # of list\n]"), i+10)},
			{"psk", fmt.Sprintf(s.one(`"%s-Ahquai3ohGhaeXo8"`, `'%s-Ahquai3ohGhaeXo8'`, `"""%s-Ahquai3ohGhaeXo8"""`), name)},
			{s.one("ssh . port", `"ssh".port`, "ssh.port"), "22"},
		}
	})
	hub := "[hub]\naddress = \"203.0.113.10\"\n" + s.one("", "# ssh.port = 22\n", s.keep()+"\n")
	l2tp := anL2TP
	if s.of(3) == 0 {
		l2tp = "\t[ l2tp ] " + s.keep() + strings.TrimPrefix(anL2TP, "[l2tp]\n")
	}
	var inside, userTables []string
	s.kind(&inside, &userTables, []string{"l2tp", "users"}, users, func(name string) [][2]string {
		return [][2]string{{"password", fmt.Sprintf(s.one(`"%s-secret"`, `'%s-secret'`), name)}}
	})
	for _, line := range inside { // of [l2tp]
		l2tp += strings.ReplaceAll(strings.ReplaceAll(line, "l2tp.", ""), "'l2tp'.", "")
	}
	l2tp += strings.Join(userTables, s.one("", "\n"))
	all := append(tables, hub, l2tp)
	for i := range all { // in any order
		j := i + s.of(len(all)-i)
		all[i], all[j] = all[j], all[i]
	}
	text := s.one("", s.keep()+"\n") + strings.Join(root, "")
	for _, t := range all {
		text += s.one("", "\n", "\n\n", "\n"+s.keep()+"\n", "\n"+s.keep()+s.keep()+"\n \t\n") + t
	}
	text += s.one("", "\n", "\n"+s.keep())
	if s.of(4) == 0 {
		text = strings.TrimRight(text, "\n")
	}
	if s.of(3) == 0 {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return s.one("", "", "", "\ufeff") + text
}

// kind writes tables of one kind, those of names below the path above: lines for
// before any header, and tables.
func (s *shapes) kind(root, tables *[]string, above []string, names []string, keys func(string) [][2]string) {
	table := func(name string, between string) string {
		var pairs []string
		for _, kv := range keys(name) {
			pairs = append(pairs, kv[0]+s.one(" = ", "=")+kv[1])
		}
		return "{" + s.one(" ", "") + strings.Join(pairs, between) + s.one(" }", "}")
	}
	dotted := func(lead, name string) (lines []string) {
		for _, kv := range keys(name) {
			line := lead + s.key(name) + s.one(".", " . ") + kv[0] + " = " + kv[1] + s.one("", " # of "+name) + "\n"
			lines = append(lines, s.one("", "# of "+name+"\n")+line)
		}
		return lines
	}
	lead := strings.Join(above, ".")
	switch s.of(4) {
	case 0: // braces in braces
		var all []string
		multi := s.of(2) == 0
		for _, name := range names {
			one := s.key(name) + " = " + table(name, ", ")
			if multi {
				one = s.one("", "\t# of "+name+"\n") + "\t" + one
			}
			all = append(all, one)
		}
		line := lead + " = { " + strings.Join(all, ", ") + " }\n"
		if multi {
			line = lead + " = {\n" + strings.Join(all, s.one(",\n", ", # there\n")) + s.one("\n}\n", ",\n}\n", " # there\n}\n")
		}
		if len(names) == 0 {
			line = lead + s.one(" = {}\n", " = { }\n")
		}
		*root = append(*root, line)
	case 1: // dotted keys before any header
		var lines []string
		for _, name := range names {
			lines = append(lines, dotted(lead+".", name)...)
		}
		*root = append(*root, lines...)
	case 2: // dotted keys and braces below one header
		text := "[" + lead + "]\n" + s.one("", s.keep()+"\n")
		for _, name := range names {
			if s.of(2) == 0 {
				text += s.one("", "# of "+name+"\n") + name + " = " + table(name, ", ") + "\n"
			} else {
				text += strings.Join(dotted("", name), "")
			}
			text += s.one("", "\n")
		}
		*tables = append(*tables, text)
	default:
		for _, name := range names {
			text := s.one("", "# of "+name+"\n", "# of "+name+"\n# of "+name+"\n") + s.one("", "  ") + "[" + lead + "." + s.key(name) + "]" + s.one("", " # of "+name) + "\n"
			for _, kv := range keys(name) {
				text += kv[0] + s.one(" = ", "=") + kv[1] + "\n" + s.one("", "# of "+name+"\n")
			}
			if lead == "sites" && s.of(3) == 0 {
				text = strings.Replace(strings.Replace(strings.Replace(text, `"ssh".port`, "ssh.port", 1), "ssh . port", "ssh.port", 1), "ssh.port", s.one("", "\n")+"[sites."+s.key(name)+".ssh]\nport", 1)
			}
			*tables = append(*tables, text+"\n") // what touches the next table is its
		}
	}
}

var models = cmp.Options{
	cmpopts.IgnoreFields(Inventory{}, "explicit", "refs"), cmpopts.IgnoreUnexported(Inventory{}),
	cmp.Comparer(func(a, b secret.Value) bool { return a.Equal(b) }), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(),
}

// tryEdit makes one edit of an inventory that the choices made, and checks that the
// text and what it says differ in what was meant and nothing else.
func tryEdit(t *testing.T, data []byte) (valid bool) {
	s := &shapes{choices: &choices{data}}
	edit := s.of(7)
	sites := []string{"tokyo", "osaka", "nagoya"}[:s.of(4)]
	users := []string{"alice", "bob", "carol"}[:s.of(4)]
	text := s.text(sites, users)
	d, diags := newDraft("x.toml", []byte(text))
	if d == nil {
		for _, g := range diags {
			if !strings.HasPrefix(g.Summary, "not TOML") {
				t.Fatalf("%s in\n%s", g, text)
			}
		}
		return false
	}
	want := d.Inventory
	removed := "" // whose comments go
	check := func(string) {}
	inserted := func(got string) {
		before := 0
		for before < min(len(got), len(text)) && got[before] == text[before] {
			before++
		}
		if strings.HasSuffix(got, text[before:]) {
			return
		}
		// into braces, whose last had no comma
		if rest, comma := strings.CutPrefix(got[before:], ","); comma {
			behind := text[before : before+strings.IndexByte(text[before:], '\n')+1]
			if rest, ok := strings.CutPrefix(rest, behind); ok && strings.HasSuffix(rest, text[before+len(behind):]) {
				return
			}
		}
		t.Errorf("more than a block was put in")
	}
	switch edit {
	case 0:
		addNara(d)
		want.Sites = append(want.Sites, Site{
			Name: "nara", Subnets: []netip.Prefix{netip.MustParsePrefix("10.3.0.0/24")},
			PSK: secret.New("nara-ieZ0ahngohng0Poo"), SSH: SSH{Jump: "hub"},
		})
		check = inserted
	case 1:
		addBob(d)
		want.L2TP.Users = append(want.L2TP.Users, User{Name: "bob@example.com", Password: secret.New("bob-secret")})
		check = inserted
	case 2, 3, 4, 5:
		if len(sites) == 0 {
			return true
		}
		name := sites[s.of(len(sites))]
		i := slices.IndexFunc(want.Sites, func(s Site) bool { return s.Name == name })
		switch edit {
		case 2:
			d.Remove([]string{"sites", name})
			want.Sites = slices.Delete(want.Sites, i, i+1)
			removed = name
		case 3:
			d.Rename([]string{"sites", name}, "kobe")
			want.Sites[i].Name = "kobe"
			check = func(got string) {
				back := strings.ReplaceAll(got, "kobe", name)
				if back != text {
					t.Errorf("more than the name was changed")
				}
			}
		case 4:
			d.Set([]string{"sites", name, "psk"}, secret.New("new-ieZ0ahngohng0Poo"))
			want.Sites[i].PSK = secret.New("new-ieZ0ahngohng0Poo")
			check = func(got string) {
				for _, q := range []string{`"""`, `"`, `'`} {
					if strings.Replace(got, `"new-ieZ0ahngohng0Poo"`, q+name+"-Ahquai3ohGhaeXo8"+q, 1) == text {
						return
					}
				}
				t.Errorf("more than the value was changed")
			}
		case 5:
			d.Set([]string{"sites", name, "ssh", "host"}, "sea")
			want.Sites[i].SSH.Host = "sea"
			check = inserted
		}
	default:
		if len(users) == 0 {
			return true
		}
		name := users[s.of(len(users))]
		d.Remove([]string{"l2tp", "users", name})
		want.L2TP.Users = slices.DeleteFunc(want.L2TP.Users, func(u User) bool { return u.Name == name })
		removed = name
	}
	out, _, err := d.result()
	if err != nil {
		t.Fatalf("edit %d: %v in\n%s", edit, err, text)
	}
	got := string(out)
	check(got)
	inv, diags := Parse("x.toml", out)
	if inv == nil {
		t.Fatal(diags)
	}
	slices.SortFunc(want.Sites, func(a, b Site) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(want.L2TP.Users, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(want, inv, models); diff != "" {
		t.Errorf("it says something else (-want +got)\n%s", diff)
	}
	if removed != "" {
		if strings.Contains(got, "# of "+removed) {
			t.Errorf("a comment of %s was left", removed)
		}
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, "# keep") && strings.Count(got, strings.TrimSpace(l)) != strings.Count(text, strings.TrimSpace(l)) {
				t.Errorf("%q went with %s", l, removed)
			}
		}
		if !deleted(text, got) {
			t.Errorf("something was changed where some lines should go")
		}
	}
	if t.Failed() {
		t.Fatalf("edit %d of\n%q\ngave\n%q", edit, text, got)
	}
	return true
}

// deleted reports whether b is a without some of its bytes.
func deleted(a, b string) bool {
	for len(b) > 0 {
		i := strings.IndexByte(a, b[0])
		if i < 0 {
			return false
		}
		a, b = a[i+1:], b[1:]
	}
	return true
}

// An edit of any text differs from it in what was meant, in the text as in what that
// says, in whichever of TOML's ways the inventory is written.
func TestDraftShapes(t *testing.T) {
	valid := 0
	const n = 1000
	for i := range n {
		var data []byte
		for j := range 8 {
			sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i*8+j)))
			data = append(data, sum[:]...)
		}
		if tryEdit(t, data) {
			valid++
		}
	}
	if valid < n*9/10 {
		t.Errorf("only %d of %d texts were inventories", valid, n)
	}
}

func FuzzDraft(f *testing.F) {
	f.Add([]byte("an edit of a site in braces"))
	f.Fuzz(func(t *testing.T, data []byte) { tryEdit(t, data) })
}
