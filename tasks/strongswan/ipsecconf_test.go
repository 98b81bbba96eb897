package strongswan

import (
	"strings"
	"testing"
)

func confLines(text string) []ConfLine {
	var out []ConfLine
	for i, l := range strings.Split(text, "\n") {
		out = append(out, ConfLine{File: "/etc/c", Line: i + 1, Text: l})
	}
	return out
}

// A conn is what it says itself, what it takes from others, and the defaults: one that is
// judged by its own lines alone is taken for something else.
func TestParseConf(t *testing.T) {
	got := ParseConf(confLines(`config setup
	left=not-a-conn
conn %default
	keyexchange=ikev2
	left=1.1.1.1

conn base
	right = "%any"   # a comment
	also=more
conn	more
	rightid=@more
	right=2.2.2.2
	also=base
conn one
	also=base
	left=3.3.3.3
conn one
	auto=add
ca x
	auto=no
conn
	auto=no`))
	want := []struct {
		name string
		line int
		set  string
	}{
		{"base", 7, "keyexchange=ikev2 left=1.1.1.1 right=%any rightid=@more auto="},
		{"more", 10, "keyexchange=ikev2 left=1.1.1.1 right=2.2.2.2 rightid=@more auto="},
		{"one", 14, "keyexchange=ikev2 left=3.3.3.3 right=%any rightid=@more auto=add"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d conns, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		var set []string
		for _, k := range []string{"keyexchange", "left", "right", "rightid", "auto"} {
			set = append(set, k+"="+got[i].Get(k))
		}
		if got[i].Name != w.name || got[i].Line != w.line || strings.Join(set, " ") != w.set {
			t.Errorf("%s at %d: %s, want %+v", got[i].Name, got[i].Line, set, w)
		}
	}
}

// Whatever an admin has written is read without a panic and without an end.
func FuzzParseConf(f *testing.F) {
	f.Add("conn a\n\talso=b\nconn b\n\talso=a\n\talso=b\n")
	f.Add("conn \"\n =\n#\nconn")
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range ParseConf(confLines(text)) {
			if c.Name == "" || c.Line < 1 || !strings.HasPrefix(strings.Split(text, "\n")[c.Line-1], "conn") {
				t.Errorf("%+v", c)
			}
		}
	})
}
