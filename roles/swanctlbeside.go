package roles

import (
	"archive/tar"
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// swanctlOther is a conn of the admin's, in the words of swanctl.conf(5).
type swanctlOther struct {
	name, file string
	line       int
	settings   []mask.Setting // below the conn
}

// swanctlOtherConns returns the conns in the files that swanctl reads which are not ours.
func swanctlOtherConns(f tasks.Facts) ([]swanctlOther, error) {
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, err
	}
	var out []swanctlOther
	for _, r := range swanctlFilesRead {
		files, err := f.Glob(r.Arg)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if file.Type == tar.TypeDir || m.Owns(file.Path) {
				continue
			}
			for _, s := range mask.Connections(file.Content) {
				if len(s.Path) == 1 {
					out = append(out, swanctlOther{name: s.Path[0], file: file.Path, line: s.Line})
				} else if i := len(out) - 1; i >= 0 {
					s.Path = s.Path[1:]
					out[i].settings = append(out[i].settings, s)
				}
			}
		}
	}
	return out, nil
}

// swanctlOthers returns the conns of swanctl's that are not ours.
func swanctlOthers(f tasks.Facts) ([]string, error) {
	others, err := swanctlOtherConns(f)
	var out []string
	for _, o := range others {
		out = append(out, fmt.Sprintf("%s:%d: conn %s", o.file, o.line, o.name))
	}
	return out, err
}

// conn returns what of it can get in the way of ours.
func (o swanctlOther) conn() besideConn {
	b := besideConn{v1: true, v2: true, peer: "%any", peerID: strongswan.ParseIdentity("%any")}
	for _, s := range o.settings {
		key := s.Path[len(s.Path)-1]
		switch in := s.Path[:len(s.Path)-1]; {
		case len(in) == 0 && key == "version":
			b.v1, b.v2 = s.Value != "2", s.Value != "1"
		case len(in) == 0 && key == "remote_addrs":
			b.peer, _, _ = strings.Cut(s.Value, ",")
		case len(in) == 1 && strings.HasPrefix(in[0], "remote") && key == "id":
			b.peerID = strongswan.ParseIdentity(s.Value)
		case len(in) == 1 && strings.HasPrefix(in[0], "remote") && key == "auth":
			b.psk = b.psk || s.Value == "psk"
		case len(in) == 2 && in[0] == "children" && key == "local_ts":
			b.local = append(b.local, subnetsOf(s.Value)...)
		case len(in) == 2 && in[0] == "children" && key == "remote_ts":
			b.remote = append(b.remote, subnetsOf(s.Value)...)
		}
	}
	b.peer = strings.TrimSpace(b.peer)
	b.anybody = strings.HasPrefix(b.peer, "%any") || b.peer == "0.0.0.0/0" || b.peer == "0.0.0.0"
	return b
}

// swanctlBeside tells of the conns of the admin's that answer for ours, dial the same
// peer, or lead to where ours do.
func swanctlBeside(cs conns, f tasks.Facts) ([]string, error) {
	others, err := swanctlOtherConns(f)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, o := range others {
		if does := o.conn().gets(cs).says; does != nil {
			out = append(out, fmt.Sprintf("%s:%d: conn %s is not vpnpush's, and %s", o.file, o.line, o.name, strings.Join(does, ", and ")))
		}
	}
	return first(out, 5, swanctlConf), nil
}

// swanctlPreflight looks for conns of the user's that would be merged into ours, since
// two sections of one name are one, and for files that somebody put among ours: swanctl
// reads them too, and they are not ours to take away.
func swanctlPreflight(c *check, conns []tasks.Conn) {
	c.otherIPsec()
	names, paths := map[string]bool{}, map[string]bool{}
	for _, n := range conns {
		names[n.Name], paths[n.Conf], paths[n.Secrets] = true, true, true
	}
	others, err := swanctlOtherConns(c.facts)
	if c.unknown(err) {
		return
	}
	for _, o := range others {
		if names[o.name] && !paths[o.file] {
			c.refuse("rename or remove that conn on the host, or give the site another name",
				"%s:%d has a conn %s of its own, which strongSwan would merge with vpnpush's", o.file, o.line, o.name)
		}
	}
	c.strays(swanctlDir+"*"+swanctlEnd, swanctlOurs, conns)
}
