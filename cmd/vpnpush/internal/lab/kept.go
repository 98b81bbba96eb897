package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
)

// Kept is the disks of a fast lab's hosts as they were, with their keys and those of who
// is at the control.
type Kept struct {
	// as tar has it, without a name: nothing has to be cleaned up
	file *os.File
}

// tarAll is tar with what an overlay keeps in extended attributes.
var tarAll = []string{"tar", "--xattrs", "--xattrs-include=*"}

// Keep keeps a fast lab as it is now, for the labs that are started from it.
func (l *Lab) Keep() *Kept {
	l.t.Helper()
	f, err := os.CreateTemp("", "vpnlab-")
	if err != nil {
		l.t.Fatal(err)
	}
	os.Remove(f.Name())
	argv := append(tarAll, "-cf", "-", "-C", l.Dir, "id_ed25519", "id_ed25519.pub", "home")
	for _, h := range l.hosts() {
		argv = append(argv, "ns/"+h+"/upper", "ns/"+h+"/known_host")
	}
	cmd := l.in(context.Background(), argv...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = f, &stderr
	// 1: a file was written to meanwhile, as logs are
	if code := l.code(run(cmd)); code > 1 {
		l.t.Fatalf("keep the lab: exit code %d\n%s", code, &stderr)
	}
	return &Kept{f}
}

// unpack puts what is kept into the directory of a lab that is not up yet: the keys,
// and the disks as up.sh takes them.
func (k *Kept) unpack(dir string) error {
	name := filepath.Join(dir, "kept.tar")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(k.file, 0, math.MaxInt64))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return exec.Command("tar", "-xpf", name, "-C", dir, "id_ed25519", "id_ed25519.pub", "home").Run()
}
