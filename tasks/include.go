package tasks

import (
	"path"
	"regexp"
)

// Include wants a file that is not ours to lead to ours. A package brings it so, and
// nobody but its admin writes to it: where it does not, that is told, and stops a plan.
type Include struct {
	Package string // that brings the file
	Path    string
	Line    string // as the package has it
	File    string // one that it must lead to
}

// ID implements Task.
func (t Include) ID() string { return "include:" + t.Path }

// Reads implements Task.
func (t Include) Reads() []Read {
	return []Read{{Kind: ReadPackage, Arg: t.Package}, {Kind: ReadFile, Arg: t.Path}}
}

// Applied implements Standing.
func (t Include) Applied(m *Manifest) bool { return m.Owns(t.File) }

// included is a line that brings other files in (settings_lexer.l of strongSwan).
var included = regexp.MustCompile(`(?m)^[ \t]*include[ \t]+"?([^"\s#]+)`)

// Check implements Task.
func (t Include) Check(f Facts) (*Change, error) {
	p, err := f.Package(t.Package)
	if err != nil || !p.Installed {
		return nil, err // it brings one that does
	}
	s, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	for _, m := range included.FindAllSubmatch(s.Content, -1) {
		pattern := string(m[1])
		if !path.IsAbs(pattern) {
			pattern = path.Join(path.Dir(t.Path), pattern)
		}
		if ok, _ := path.Match(pattern, t.File); ok {
			return nil, nil
		}
	}
	c := &Change{
		Task: t.ID(), Action: Update, Attrs: []Attr{{Name: "line", New: []byte(t.Line)}},
		Blocked: "it has no line `" + t.Line + "`: strongSwan would not read vpnpush's files",
		Mend:    "add the line to it, as Debian's package has it",
	}
	if !s.Exists {
		c.Blocked, c.Mend = "it is not there: strongSwan would not read vpnpush's files", "make it anew, with the line `"+t.Line+"`, as Debian's package has it"
	}
	return c, nil
}
