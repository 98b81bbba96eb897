package tasks

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

// Sessions wants no live L2TP session but those of Users, each begun with the password
// and the key that are wanted now: pppd looks into chap-secrets when a session begins,
// and charon at the key when an SA does. What began before lives on without them, the
// SA for a day.
type Sessions struct {
	Local string // the hub's end of the links
	Users []SessionUser
	// Passwords is the block that holds the users' passwords.
	Passwords Block
	// Keys is the file with the key that the clients share, and Conn the conn that is
	// found by it.
	Keys   File
	Daemon Daemon
	Conn   string
}

// SessionUser is a user whose sessions are wanted.
type SessionUser struct {
	Name string
	// Entry is the user's line in the block of passwords, without the addresses.
	Entry secret.Value
}

// renewedPath is the file that notes which users got a new password and when, in ticks
// of the kernel's clock since it booted, which nobody sets. Nothing in it tells of a
// password.
const renewedPath = "/run/vpnpush/renewed"

// ID implements Task.
func (t Sessions) ID() string { return "l2tp:sessions" }

// Reads implements Task.
func (t Sessions) Reads() []Read {
	r := append(SessionReads(), t.Passwords.Reads()...)
	return append(r, Read{Kind: ReadFile, Arg: t.Keys.Path}, Read{Kind: ReadFile, Arg: renewedPath})
}

// Why a session ends.
const (
	outRemoved  = "removed"
	outPassword = "new password"
	outKey      = "new L2TP PSK"
)

// Check implements Task. A session of which no note was made is left alone: it
// began before vpnpush came, and whose it is cannot be known. So is one of
// a user who is the admin's own. A new key ends the SA that is under them, as under all
// others.
//
// Who is on is asked again when the change is made, since sessions come and go: all
// of a user's end, and so it is a change also where nobody is on now.
func (t Sessions) Check(f Facts) (*Change, error) {
	ss, err := SessionsFrom(f, t.Local)
	if err != nil {
		return nil, err
	}
	admins, err := t.admins(f)
	if err != nil {
		return nil, err
	}
	out, err := t.out(f, admins)
	if err != nil {
		return nil, err
	}
	newKey, err := t.newKey(f)
	if err != nil {
		return nil, err
	}
	since, err := t.renewed(f)
	if err != nil {
		return nil, err
	}
	renew := usersWith(out, outPassword)
	c := &Change{Task: t.ID(), Action: Delete, Parts: []Part{PartSessions}}
	for _, s := range ss {
		a := Attr{Name: "session of " + s.User, Old: fmt.Appendf(nil, "%s on %s", s.Address, s.Interface), New: []byte("ended")}
		switch wanted := t.has(s.User); {
		case out[s.User] != "":
		case wanted && s.Began < since[s.User]:
			out[s.User] = outPassword
		case !wanted && s.User != "" && !admins(s.User):
			out[s.User] = outRemoved
		case !newKey:
			continue
		case !wanted:
			a.Name, a.New = strings.TrimSuffix(a.Name, " of "), []byte("cut off")
		}
		c.Attrs = append(c.Attrs, a)
		c.Ends = append(c.Ends, fmt.Sprintf("%s (%s)", a.Name, a.Old))
	}
	if len(out) == 0 && !newKey {
		return nil, nil
	}
	slices.SortStableFunc(c.Attrs, func(a, b Attr) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(c.Ends)
	c.Note = note(out, newKey)
	if c.Attrs == nil {
		c.Note += "; nobody is on with it now"
	}
	if renew != nil {
		c.Backups = []string{renewedPath}
		c.Do = append(c.Do, Step{Phase: PhaseFiles, Shell: "renewed" + quoteList(renew)})
	}
	end := sortedKeys(out)
	if newKey {
		for _, u := range t.Users {
			end = append(end, u.Name)
		}
		slices.Sort(end)
		end = slices.Compact(end)
	}
	c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "end_sessions" + quoteList(end)})
	if newKey {
		// after the sessions: by what goes now the other ends hear that they are over
		c.Parts = append(c.Parts, PartUnits, t.Daemon.Part)
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: t.Daemon.Name + "_down " + transport.Quote(t.Conn)})
	}
	return c, nil
}

func (t Sessions) has(user string) bool {
	return slices.ContainsFunc(t.Users, func(u SessionUser) bool { return u.Name == user })
}

// out returns the users whose password on the host is no more, with the reason: those
// that the block there has and Users has not, and those whose entry is another. Who is
// the admin's too goes on to be.
func (t Sessions) out(f Facts, admins func(user string) bool) (map[string]string, error) {
	s, err := f.File(t.Passwords.Path)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for l := range strings.Lines(string(t.Passwords.find(s.Content))) {
		word, _, _ := strings.Cut(l, " ")
		i := slices.IndexFunc(t.Users, func(u SessionUser) bool { return strings.HasPrefix(u.Entry.Reveal(), word+" ") })
		switch name := strings.Trim(strings.TrimSpace(word), `"`); {
		case i < 0 && name != "" && name != word && !admins(name): // a line of ours: we quote
			out[name] = outRemoved
		case i >= 0 && !strings.HasPrefix(l, t.Users[i].Entry.Reveal()+" "):
			out[t.Users[i].Name] = outPassword
		}
	}
	return out, nil
}

// newKey reports whether the clients' key on the host is another than the wanted one.
func (t Sessions) newKey(f Facts) (bool, error) {
	s, err := f.File(t.Keys.Path)
	if err != nil || !s.Exists {
		return false, err
	}
	return !bytes.Equal(withoutComments(s.Content), withoutComments(t.Keys.Content)), nil
}

func withoutComments(b []byte) []byte {
	var out []byte
	for l := range bytes.Lines(b) {
		if !bytes.HasPrefix(l, []byte("#")) {
			out = append(out, l...)
		}
	}
	return out
}

// renewed returns when users got the password that they have now.
func (t Sessions) renewed(f Facts) (map[string]uint64, error) {
	s, err := f.File(renewedPath)
	if err != nil {
		return nil, err
	}
	at := map[string]uint64{}
	for user, when := range sessionNote(s.Content) {
		ticks, boot, _ := strings.Cut(when, " ")
		n, err := strconv.ParseUint(ticks, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("file %s: %w: when %s got a new password: %q", renewedPath, ErrUnknown, user, when)
		}
		if boot == f.Host.BootID {
			at[user] = n
		}
	}
	return at, nil
}

// note returns the reasons for which sessions end, each with its users.
func note(out map[string]string, newKey bool) string {
	var parts []string
	for _, why := range []string{outRemoved, outPassword} {
		if users := usersWith(out, why); users != nil {
			parts = append(parts, why+": "+strings.Join(users, ", "))
		}
	}
	if newKey {
		parts = append(parts, outKey)
	}
	return strings.Join(parts, "; ")
}

func usersWith(out map[string]string, why string) []string {
	var users []string
	for _, u := range sortedKeys(out) {
		if out[u] == why {
			users = append(users, u)
		}
	}
	return users
}
