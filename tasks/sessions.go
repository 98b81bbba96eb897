package tasks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// Sessions wants no live L2TP session but those of Users: chap-secrets is asked
// when a session begins, and a removed user's lives on without it.
type Sessions struct {
	Local string // the hub's end of the links
	Users []string
	// Passwords is the block that holds the users' passwords.
	Passwords Block
}

// ID implements Task.
func (t Sessions) ID() string { return "l2tp:sessions" }

// Reads implements Task.
func (t Sessions) Reads() []Read { return append(SessionReads(), t.Passwords.Reads()...) }

// Check implements Task. A session of which no note was made is left alone: it
// began before vpnpush came, and whose it is cannot be known. So is one of
// a user who is the admin's own.
func (t Sessions) Check(f Facts) (*Change, error) {
	ss, err := SessionsFrom(f, t.Local)
	if err != nil {
		return nil, err
	}
	admins, err := t.admins(f)
	if err != nil {
		return nil, err
	}
	c := &Change{Task: t.ID(), Action: Delete, Parts: []Part{PartSessions}}
	for _, s := range ss {
		if s.User == "" || slices.Contains(t.Users, s.User) || admins(s.User) {
			continue
		}
		c.Attrs = append(c.Attrs, Attr{Name: "session of " + s.User, Old: fmt.Appendf(nil, "%s on %s", s.Address, s.Interface), New: []byte("ended")})
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "end_session " + transport.Quote(SessionDir+"/"+s.Interface)})
	}
	if len(c.Do) == 0 {
		return nil, nil
	}
	slices.SortFunc(c.Attrs, func(a, b Attr) int { return strings.Compare(a.Name, b.Name) })
	return c, nil
}
