package tasks

import (
	"crypto/md5"
	"encoding/hex"
	"strings"
	"testing"
)

func ownedFile() File {
	return File{Path: "/etc/x.conf", Content: []byte(Marker("#", "me") + "x\n"), Mode: 0o644, Owner: "me", Package: "x"}
}

// fileFacts are a host's with one file, and a manifest that lists paths.
func fileFacts(t *testing.T, content string, listed ...string) Facts {
	t.Helper()
	f := Bare(append(ownedFile().Reads(), Read{Kind: ReadFile, Arg: "/etc/x.conf"}))
	if content != "" {
		f.files["/etc/x.conf"] = FileState{Path: "/etc/x.conf", Exists: true, Type: '0', Content: []byte(content), Mode: 0o644, Owner: "root:root"}
	}
	if len(listed) > 0 {
		m := &Manifest{FormatVersion: manifestFormat, Owner: "me"}
		for _, p := range listed {
			m.Tasks = append(m.Tasks, Entry{ID: "file:" + p, Kind: kindFile, Path: p, SHA256: SHA256([]byte(content))})
		}
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		f.files[ManifestPath] = FileState{Path: ManifestPath, Exists: true, Type: '0', Content: b}
	}
	return f
}

// The table of ownership: what may be
// written over, and what may not.
func TestFileOwnership(t *testing.T) {
	want := ownedFile()
	shipped := "as shipped\n"
	sum := md5.Sum([]byte(shipped))
	pristine := fileFacts(t, shipped)
	pristine.packages["x"] = PackageState{Name: "x", Installed: true, Conffiles: map[string]string{"/etc/x.conf": hex.EncodeToString(sum[:])}}
	touched := fileFacts(t, shipped+"touched\n")
	touched.packages["x"] = pristine.packages["x"]
	for _, c := range []struct {
		what    string
		facts   Facts
		adopt   bool
		action  Action
		blocked string
	}{
		{"not there", fileFacts(t, ""), false, Create, ""},
		{"as wanted", fileFacts(t, string(want.Content)), false, "", ""},
		{"ours, in the manifest", fileFacts(t, "old\n", "/etc/x.conf"), false, Update, ""},
		{"ours, by its marker", fileFacts(t, Marker("#", "me")+"old\n"), false, Update, ""},
		{"somebody's", fileFacts(t, "mine\n"), false, Update, "did not write"},
		{"somebody's, adopted", fileFacts(t, "mine\n"), true, Update, ""},
		{"another inventory's", fileFacts(t, Marker("#", "other")+"x\n"), false, Update, `inventory "other"`},
		{"another inventory's, adopted", fileFacts(t, Marker("#", "other")+"x\n"), true, Update, `inventory "other"`},
		{"as its package shipped it", pristine, false, Update, ""},
		{"touched since its package shipped it", touched, false, Update, "did not write"},
	} {
		ts := []Task{want}
		if c.adopt {
			Adopt(ts)
		}
		got, err := ts[0].Check(c.facts)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.action == "":
			if got != nil {
				t.Errorf("%s: %+v", c.what, got)
			}
		case got == nil || got.Action != c.action || (c.blocked == "") != (got.Blocked == "") || !strings.Contains(got.Blocked, c.blocked):
			t.Errorf("%s: %+v", c.what, got)
		}
	}
	if _, err := want.Check(Facts{}); err == nil {
		t.Error("a file that was not read is absent")
	}
}

// A link, a folder, a device where our file goes is not written through or over.
func TestFileOtherKinds(t *testing.T) {
	f := fileFacts(t, "x\n", "/etc/x.conf")
	s := f.files["/etc/x.conf"]
	s.Type = '2'
	f.files["/etc/x.conf"] = s
	if c, err := ownedFile().Check(f); err != nil || c == nil || c.Blocked == "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// Only a file that is in the manifest, marked, and as it was written is deleted;
// else it takes --adopt.
func TestAbsent(t *testing.T) {
	ours := Marker("#", "me") + "x\n"
	gone := Absent{Path: "/etc/x.conf", SHA256: SHA256([]byte(ours)), Owner: "me"}
	if c, err := gone.Check(fileFacts(t, "")); err != nil || c != nil {
		t.Errorf("not there: %+v, %v", c, err)
	}
	if c, err := gone.Check(fileFacts(t, ours)); err != nil || c == nil || c.Action != Delete || c.Blocked != "" {
		t.Errorf("ours: %+v, %v", c, err)
	}
	for _, text := range []string{ours + "edited\n", "no marker\n"} {
		ts := []Task{gone}
		if c, err := ts[0].Check(fileFacts(t, text)); err != nil || c == nil || c.Blocked == "" || !strings.Contains(c.Mend, "--adopt") {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
		Adopt(ts)
		if c, err := ts[0].Check(fileFacts(t, text)); err != nil || c == nil || c.Blocked != "" {
			t.Errorf("%q, adopted: %+v, %v", text, c, err)
		}
	}
}

// What stood where ours goes is kept, for as long as ours is there, and comes back when
// nothing wants ours any more: its package, or its owner, would miss it.
func TestFileKeepsWhatStoodThere(t *testing.T) {
	file := ownedFile()
	file.Adopt = true
	c := mustCheck(t, file, fileFacts(t, "theirs\n"))
	if c.Do[0].Shell != "keep_first /etc/x.conf /var/lib/vpnpush/first/etc/x.conf" || len(c.Backups) != 2 {
		t.Errorf("theirs is written over: %q, backed up %q", c.Do[0].Shell, c.Backups)
	}
	e := file.Record(nil, fileFacts(t, "theirs\n"))
	if e.First != "/var/lib/vpnpush/first/etc/x.conf" {
		t.Errorf("the manifest does not know of it: %+v", e)
	}
	ours := string(file.Content)
	if again := file.Record(&e, fileFacts(t, ours, file.Path)); again.First != e.First {
		t.Errorf("the next apply forgets it: %+v", again)
	}
	if c := mustCheck(t, File{Path: file.Path, Content: []byte(Marker("#", "me") + "y\n"), Owner: "me"}, fileFacts(t, ours, file.Path)); len(c.Do) != 1 {
		t.Errorf("ours is kept as theirs: %+v", c.Do)
	}

	gone := Absent{Path: file.Path, SHA256: SHA256(file.Content), Owner: "me", First: e.First}
	f := fileFacts(t, ours, file.Path)
	f.files[e.First] = FileState{Path: e.First, Exists: true, Type: '0', Content: []byte("theirs\n"), Mode: 0o600, Owner: "root:root"}
	if c := mustCheck(t, gone, f); c.Do[0].Shell != "put_first /etc/x.conf "+e.First || string(c.Attrs[0].New) != "theirs\n" || c.Blocked != "" {
		t.Errorf("it does not come back: %+v", c)
	}
	f.files[file.Path] = FileState{Path: file.Path, Exists: true, Type: '0', Content: []byte(ours + "edited\n")}
	if c := mustCheck(t, gone, f); c.Blocked == "" {
		t.Error("an edited file of ours is written over")
	}
	delete(f.files, e.First)
	if c, err := gone.Check(f); err == nil {
		t.Errorf("a copy that was not read is none: %+v", c)
	}
}
