package roles

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// language is how a backend writes a conn down: a file that a template makes, and one
// with its keys.
type language struct {
	templates string // their names begin so, "-hub.tmpl", "-site.tmpl" and "-l2tp.tmpl" follow
	// confDir, with the conn's name and an ending behind it, is the path of each file
	confDir, confEnd, keysEnd string
	syntax                    mask.Syntax // of the file with the keys
	// keys returns the keys of a conn that are found by id, the one that is to be sent
	// last. It refuses one that its file cannot carry.
	keys func(conn, id string, psks []secret.Value) (string, error)
}

// connText fills the templates.
type connText struct {
	Name, Local, Remote         string // Local "": the address that the way to the peer begins at
	LocalID, PeerID             string
	LocalSubnets, RemoteSubnets string
	IKE, ESP                    string
	DPDDelay, DPDTimeout        string
	Lifetime                    string
}

// place returns a conn by its name, with where its files are.
func (l language) place(conn string) tasks.Conn {
	return tasks.Conn{Name: conn, Conf: l.confDir + conn + l.confEnd, Secrets: l.confDir + conn + l.keysEnd}
}

// files returns the tasks that put the conns down, and what is to be loaded of them.
func (l language) files(owner string, cs conns) (ts []tasks.Task, loaded []tasks.Conn, err error) {
	// add takes a conn and its keys, with the one identity that they are found by.
	add := func(template string, c connText, id string, psks []secret.Value, load tasks.Conn) error {
		lines, err := l.keys(c.Name, id, psks)
		if err != nil {
			return err
		}
		text, err := fill(owner, "#", l.templates+template, c)
		if err != nil {
			return err
		}
		at := l.place(c.Name)
		conf := tasks.File{Path: at.Conf, Content: text, Mode: 0o644, Owner: owner}
		keys := tasks.File{Path: at.Secrets, Content: []byte(tasks.Marker("#", owner) + lines), Mode: 0o600, Owner: owner, Syntax: l.syntax}
		ts = append(ts, conf, keys)
		load.Name, load.Conf, load.Secrets = at.Name, at.Conf, at.Secrets
		load.ConfSHA, load.SecretsSHA = tasks.SHA256(conf.Content), tasks.SHA256(keys.Content)
		loaded = append(loaded, load)
		return nil
	}
	for _, t := range cs.tunnels {
		local, remote := t.nets()
		ike, esp := t.proposals()
		c := connText{
			Name: t.name, Remote: t.remote.String(), LocalID: t.localID, PeerID: t.peerID,
			LocalSubnets: commas(local), RemoteSubnets: commas(remote),
			IKE: strings.Join(ike, ","), ESP: strings.Join(esp, ","), DPDDelay: seconds(t.dpd),
		}
		switch {
		case t.anyAddress():
			c.Local = "%any"
		case t.local.IsValid():
			c.Local = t.local.String()
		}
		template := "-hub.tmpl"
		if t.dials {
			template = "-site.tmpl"
		}
		load := tasks.Conn{Initiates: t.dials, Gone: t.gone, Tunnel: t.wanted(), Also: t.also, IKE: ike, Listed: t.listed()}
		if err := add(template, c, "@"+t.peerID, t.keys(), load); err != nil {
			return nil, nil, err
		}
	}
	if p := cs.clients; p != nil {
		c := connText{
			Name: p.name, Local: p.local.String(), LocalID: p.id.String(),
			IKE: strings.Join(p.ike, ","), ESP: strings.Join(p.esp, ","),
			DPDDelay: seconds(p.dpdDelay), DPDTimeout: seconds(p.dpdTimeout),
			Lifetime: fmt.Sprintf("%dh", p.lifetime/time.Hour),
		}
		if err := add("-l2tp.tmpl", c, p.id.String(), []secret.Value{p.psk}, tasks.Conn{IKE: p.ike, Listed: p.listed()}); err != nil {
			return nil, nil, err
		}
	}
	return ts, loaded, nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", d/time.Second) }

func commas(ps []netip.Prefix) string { return strings.Join(texts(ps), ",") }
