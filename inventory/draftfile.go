package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// draftFile is the file that an edit is for, with the lock on its folder.
type draftFile struct {
	name string // as the user names it
	path string // where it is, past all links
	info fs.FileInfo
	lock *os.File
}

// OpenDraft begins an edit of the inventory at path, and waits until no other is at
// work in its folder. A link is followed: the file that it leads to is edited, and the
// link stays. It returns the faults of an inventory that has some, and no Draft then. Those
// that go with the table at gone, which the edit is to take out, are none.
func OpenDraft(ctx context.Context, path string, gone ...string) (*Draft, Diagnostics, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, unread(path, err), nil
	}
	f := &draftFile{name: path, path: target}
	if f.info, err = os.Stat(target); err == nil {
		err = f.editable() // before it is opened: a FIFO would give no answer
	}
	if err != nil {
		return nil, nil, err
	}
	if f.lock, err = lockFolder(ctx, filepath.Dir(target)); err != nil {
		return nil, nil, err
	}
	text, info, err := secret.ReadFile(ctx, target, maxInventory)
	if err != nil {
		f.lock.Close()
		return nil, unread(path, err), nil
	}
	f.info = info
	d, diags := newDraft(path, text)
	if d == nil && len(gone) > 0 {
		if rest := draftWithout(path, text, gone); rest != nil {
			d, diags = rest, nil
		}
	}
	if d != nil {
		d.file = f
		diags = append(diags, d.Inventory.aboutFile(info)...)
	}
	if len(diags.Errors()) > 0 {
		f.lock.Close()
		return nil, diags.sorted(), nil
	}
	return d, diags.sorted(), nil
}

// Close ends the edit, and lets the next begin.
func (d *Draft) Close() { d.file.lock.Close() }

// Save checks the edited inventory and writes it, whole or not at all. Nothing is
// written where it would have faults, or where the file is not what it was any more,
// or nothing was edited.
func (d *Draft) Save(ctx context.Context) error {
	text, _, err := d.result()
	if err != nil || len(d.splices) == 0 {
		return err
	}
	return d.file.replace(ctx, d.text, text)
}

// lockFolder waits until no other edit is at work in a folder. The lock goes with the
// program, however that ends, and leaves no file behind. It is on the folder, as each
// edit puts another file in the inventory's place.
func lockFolder(ctx context.Context, folder string) (*os.File, error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("edit inventory: %w", err)
	}
	done := make(chan error, 1)
	go func() {
		for {
			if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
				done <- err
				return
			}
		}
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil, ctx.Err() // the wait goes on until the program ends, which is now
	}
	// NFS and some others lock no folders: there the comparison before the write is all.
	if err != nil && !errors.Is(err, syscall.EBADF) && !errors.Is(err, syscall.ENOLCK) && !errors.Is(err, syscall.ENOTSUP) {
		dir.Close()
		return nil, fmt.Errorf("lock the folder of the inventory: %w", err)
	}
	return dir, nil
}

// editable refuses a file that cannot be replaced without losing what somebody wants.
func (f *draftFile) editable() error {
	says, mend := "", ""
	st, _ := f.info.Sys().(*syscall.Stat_t)
	switch {
	case !f.info.Mode().IsRegular():
		says, mend = "is no file", "name the file itself with --inventory"
	case st != nil && st.Nlink > 1:
		says, mend = "has another name (a hard link), which would keep what is in it now", "make it one file: cp it to a new name, and mv that over it"
	case f.info.Mode().Perm()&0o222 == 0:
		says, mend = fmt.Sprintf("is read-only (mode %04o)", f.info.Mode().Perm()), "chmod u+w "+f.path
	default:
		return nil
	}
	return &fault{fmt.Sprintf("edit inventory: %s %s", f.name, says), mend}
}

// replace puts another text in the place of the file, with its mode and owner, if it
// still holds what it did.
func (f *draftFile) replace(ctx context.Context, was, text []byte) error {
	p, err := renameio.NewPendingFile(f.path, renameio.WithTempDir(filepath.Dir(f.path)), renameio.WithStaticPermissions(f.info.Mode().Perm()))
	if err != nil {
		return unwritten(f.name, err)
	}
	defer p.Cleanup()
	if _, err := p.Write(text); err != nil {
		return unwritten(f.name, err)
	}
	if err := f.own(p.File); err != nil {
		return err
	}
	now, _, err := secret.ReadFile(ctx, f.path, maxInventory)
	if err != nil {
		return unwritten(f.name, err)
	}
	if target, err := filepath.EvalSymlinks(f.name); err != nil || target != f.path || !bytes.Equal(now, was) {
		return &fault{fmt.Sprintf("edit inventory: %s was changed meanwhile; nothing was written", f.name), "run it again"}
	}
	if err := p.CloseAtomicallyReplace(); err != nil {
		return unwritten(f.name, err)
	}
	return nil
}

// own gives a file that comes in the place of f the same owner and group. One whose group
// may do nothing with it can have another.
func (f *draftFile) own(to *os.File) error {
	st, ok := f.info.Sys().(*syscall.Stat_t)
	if !ok || to.Chown(int(st.Uid), int(st.Gid)) == nil || to.Chown(int(st.Uid), -1) == nil && f.info.Mode().Perm()&0o070 == 0 {
		return nil
	}
	return &fault{
		fmt.Sprintf("edit inventory: %s belongs to %s and the group %d, which you cannot give it again", f.name, owner(f.info), st.Gid),
		"edit it as that user, or take it over with chown",
	}
}

// unwritten returns why a file was not written, without the name of the one that was to
// come in its place.
func unwritten(name string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	return &fault{fmt.Sprintf("edit inventory: write %s: %v", name, err), "see that there is room, and that you may write to its folder; the file is as it was"}
}
