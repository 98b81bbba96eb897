package tasks

import "testing"

// A new key is held where it was asked for, and strongSwan is not told to load
// it; a key that was edited on the host goes back to what was last applied.
func TestHold(t *testing.T) {
	file := File{Path: "/etc/k", Content: []byte("new\n"), Mode: 0o600, Owner: "me"}
	ipsec := IPsec{Daemon: Daemon{Unit: "s.service"}, Conns: []Conn{{Name: "c", Conf: "/etc/c", Secrets: "/etc/k", SecretsSHA: SHA256(file.Content)}}}
	facts := func(stands string, last File) Facts {
		f := Bare(file.Reads())
		f.files["/etc/k"] = FileState{Path: "/etc/k", Exists: true, Type: '0', Content: []byte(stands), Mode: 0o600, Owner: "root:root"}
		m := &Manifest{FormatVersion: manifestFormat, Owner: "me", Tasks: []Entry{{ID: last.ID(), Kind: kindFile, Digest: last.Digest()}}}
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		f.files[ManifestPath] = FileState{Path: ManifestPath, Exists: true, Type: '0', Content: b}
		return f
	}
	old := file
	old.Content = []byte("old\n")
	ids := map[string]bool{file.ID(): true}

	ts, held, err := Hold([]Task{file, ipsec}, facts("old\n", old), ids)
	if err != nil || len(held) != 1 || string(ts[0].(File).Content) != "old\n" || ts[1].(IPsec).Conns[0].SecretsSHA != SHA256([]byte("old\n")) {
		t.Errorf("a new key: %v, %v, %v", ts, held, err)
	}
	if ipsec.Conns[0].SecretsSHA != SHA256(file.Content) {
		t.Error("the task that was handed in has changed")
	}
	if ts, held, err := Hold([]Task{file, ipsec}, facts("edited\n", file), ids); err != nil || len(held) != 0 || string(ts[0].(File).Content) != "new\n" {
		t.Errorf("an edited key: %v, %v, %v", ts, held, err)
	}
	if _, held, err := Hold([]Task{file, ipsec}, facts("old\n", old), nil); err != nil || len(held) != 0 {
		t.Errorf("not asked for: %v, %v", held, err)
	}
}
