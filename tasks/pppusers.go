package tasks

import (
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// others returns the names that stand in a file of passwords outside of our block, and
// so are the admin's: "*" lets any name in.
func (t Block) others(content []byte) map[string]bool {
	t.Content = nil
	rest, err := t.Edit(content)
	if err != nil {
		rest = content // the block's own check says what is wrong with it
	}
	out := map[string]bool{}
	for _, c := range mask.Clients(rest) {
		out[c.Name] = true
	}
	return out
}

// inBlock returns the names that stand in our block.
func (t Block) inBlock(content []byte) map[string]bool {
	out := map[string]bool{}
	for _, c := range mask.Clients(t.find(content)) {
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
	others, ours := t.Passwords.others(s.Content), t.Passwords.inBlock(s.Content)
	return func(user string) bool { return others[user] || others["*"] && !ours[user] }, nil
}
