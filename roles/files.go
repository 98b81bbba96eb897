package roles

import (
	"bytes"
	"embed"
	"fmt"
	"text/template"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

//go:embed templates/*.tmpl
var templateFS embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(templateFS, "templates/*.tmpl"))

// fill gives the marker line and a filled template.
func (p placed) fill(comment, name string, data any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(tasks.Marker(comment, p.inv.ID))
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("fill template %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// script is fill for a shell script: there the marker line comes second.
func (p placed) script(name string, data any) ([]byte, error) {
	b, err := p.fill("#", name, data)
	return append([]byte("#!/bin/sh\n"), b...), err
}

// files are the files of a host, and the conns that are in them.
func (p placed) files() ([]tasks.Task, []tasks.Conn, error) {
	ts := []tasks.Task{
		tasks.Line{Path: ipsecConf, Line: includeConf, Mode: 0o644},
		tasks.Line{Path: ipsecKeys, Line: includeKeys, Mode: 0o600, Syntax: mask.IPsecSecrets},
	}
	pairs, err := p.pairs()
	if err != nil {
		return nil, nil, err
	}
	var conns []tasks.Conn
	for _, pr := range pairs {
		conf := tasks.File{Path: confDir + pr.name + ".conf", Content: pr.conf, Mode: 0o644, Owner: p.inv.ID}
		keys := tasks.File{Path: confDir + pr.name + ".secrets", Content: pr.secrets, Mode: 0o600, Owner: p.inv.ID, Syntax: mask.IPsecSecrets}
		ts = append(ts, conf, keys)
		conns = append(conns, tasks.Conn{
			Name: pr.name, Conf: conf.Path, Secrets: keys.Path,
			ConfSHA: tasks.SHA256(conf.Content), SecretsSHA: tasks.SHA256(keys.Content),
			Initiates: p.role == inventory.RoleSite, Tunnel: pr.tunnel,
		})
	}
	l2tp, err := p.l2tpFiles()
	if err != nil {
		return nil, nil, err
	}
	return append(ts, l2tp...), conns, nil
}

// sysctl is what the kernel must do to route between tunnels, at the next boot
// and now. Writing conf.default reaches every interface whose own value nobody
// has set (devinet_copy_dflt_conf in the kernel).
func (p placed) sysctl() (tasks.File, []tasks.Sysctl, error) {
	want := []tasks.Sysctl{
		{Key: "net.ipv4.ip_forward", Value: "1"},
		{Key: "net.ipv4.conf.all.accept_redirects", Value: "0"},
		{Key: "net.ipv4.conf.default.accept_redirects", Value: "0"},
		{Key: "net.ipv4.conf.all.send_redirects", Value: "0"},
		{Key: "net.ipv4.conf.default.send_redirects", Value: "0"},
		{Key: "net.ipv4.conf.all.rp_filter", Value: "2"},
		{Key: "net.ipv4.conf.default.rp_filter", Value: "2"},
	}
	b, err := p.fill("#", "sysctl.tmpl", want)
	return tasks.File{Path: sysctlPath, Content: b, Mode: 0o644, Owner: p.inv.ID}, want, err
}
