package tasks

import (
	"bytes"
	"slices"

	"github.com/vpnpush/vpnpush/tasks/mask"
)

// Others returns a file with our block in it blank, so that its lines keep their numbers.
// One in which a block does not end is all others': the block's own check says so.
func (t Block) Others(content []byte) []byte {
	before, rest, ok := cutLine(content, BlockBegin(t.Owner))
	if !ok {
		return content
	}
	block, after, ok := cutLine(rest, BlockEnd)
	if !ok {
		return content
	}
	blank := bytes.Repeat([]byte("\n"), bytes.Count(block, []byte("\n"))+2)
	return slices.Concat(before, blank, after)
}

// users returns the names in a file of passwords.
func users(content []byte) map[string]bool {
	out := map[string]bool{}
	for _, c := range mask.Clients(content) {
		out[c.Name] = true
	}
	return out
}

// admins returns what reports whether a user is the admin's: his line stands beside our
// block, or one for any name does and our block does not have him.
func (t Sessions) admins(f Facts) (func(user string) bool, error) {
	s, err := f.File(t.Passwords.Path)
	if err != nil {
		return nil, err
	}
	others, ours := users(t.Passwords.Others(s.Content)), users(t.Passwords.find(s.Content))
	return func(user string) bool { return others[user] || others["*"] && !ours[user] }, nil
}
