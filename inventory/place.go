package inventory

import (
	"fmt"

	"github.com/BurntSushi/toml"
)

// Place returns where a key stands, as "vpnpush.toml:12: sites.tokyo.psk". One that is not
// written is named with the table that it would stand in, and one of a table that is not
// there either with the file.
func (inv *Inventory) Place(key ...string) string {
	path := toml.Key(key)
	for n := len(path); n > 0 && inv.pos != nil; n-- {
		switch at := inv.pos.at(path[:n]); {
		case at == nil || len(at.names) == 0:
		case n == len(path):
			return fmt.Sprintf("%s:%d: %s", inv.Path, inv.pos.line(path), path)
		default:
			return fmt.Sprintf("%s:%d: %s, which is not set", inv.Path, inv.pos.line(path[:n]), path)
		}
	}
	return fmt.Sprintf("%s: %s, which is not set", inv.Path, path)
}
