package roles

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"text/template"

	"github.com/vpnpush/vpnpush/tasks"
)

//go:embed templates/*.tmpl
var templateFS embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(templateFS, "templates/*.tmpl"))

// fill returns the marker line and a filled template.
func fill(owner, comment, name string, data any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(tasks.Marker(comment, owner))
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("fill template %s: %w", name, err)
	}
	return bytes.Clone(b.Bytes()), nil // what is kept of it is as long as it is
}

// script is fill for a shell script: there the marker line comes second.
func script(owner, name string, data any) ([]byte, error) {
	b, err := fill(owner, "#", name, data)
	return slices.Concat([]byte("#!/bin/sh\n"), b), err
}

const sysctlPath = "/etc/sysctl.d/60-vpnpush.conf"

// sysctl returns what the kernel must do to route between tunnels, at the next boot
// and now. Writing conf.default reaches every interface whose own value nobody
// has set (devinet_copy_dflt_conf in the kernel).
func (h Host) sysctl() (tasks.File, []tasks.Sysctl, error) {
	want := []tasks.Sysctl{
		{Key: "net.ipv4.ip_forward", Value: "1"},
		{Key: "net.ipv4.conf.all.accept_redirects", Value: "0"},
		{Key: "net.ipv4.conf.default.accept_redirects", Value: "0"},
		{Key: "net.ipv4.conf.all.send_redirects", Value: "0"},
		{Key: "net.ipv4.conf.default.send_redirects", Value: "0"},
		{Key: "net.ipv4.conf.all.rp_filter", Value: "2"},
		{Key: "net.ipv4.conf.default.rp_filter", Value: "2"},
	}
	b, err := fill(h.inv.ID, "#", "sysctl.tmpl", want)
	return tasks.File{Path: sysctlPath, Content: b, Mode: 0o644, Owner: h.inv.ID}, want, err
}
