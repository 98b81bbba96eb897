package roles

import (
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
)

// The service that dials a site's tunnel anew. Its script is where vpnpush keeps its own
// things: not below /usr, which some hosts mount read-only.
const (
	unitRedial   = "vpnpush-redial.service"
	redialScript = tasks.StateDir + "/redial.sh"
	unitDir      = "/etc/systemd/system/"
)

// redial returns the tasks of the service that watches the tunnels which a host dials;
// none on a hub, which waits.
//
// charon dials by itself when it starts, when the peer ends a child SA or does not answer
// any more. It does not when an IKE SA stands without a child SA, when the peer refuses
// it, or when somebody ends it by hand.
func (h Host) redial(b backend, ends []tunnel) (files []tasks.Task, run []tasks.Task, err error) {
	var conns []string
	for _, t := range ends {
		if t.dials {
			conns = append(conns, t.name)
		}
	}
	if conns == nil {
		return nil, nil, nil
	}
	data := struct{ Part, Daemon, Conns, With, Unit, Script string }{
		strings.TrimPrefix(b.dialShell, "# shellcheck shell=sh\n"), b.Name, strings.Join(conns, " "), b.Unit, unitRedial, redialScript,
	}
	t := tasks.Helper{Unit: unitRedial, With: b.Unit, Files: map[string]string{}}
	for _, f := range []struct {
		path, template string
		fill           func(owner, name string) ([]byte, error)
	}{
		{redialScript, "redial.tmpl", func(o, n string) ([]byte, error) { return script(o, n, data) }},
		{unitDir + unitRedial, "redial-service.tmpl", func(o, n string) ([]byte, error) { return fill(o, "#", n, data) }},
		{unitDir + b.Unit + ".d/vpnpush.conf", "redial-with.tmpl", func(o, n string) ([]byte, error) { return fill(o, "#", n, data) }},
	} {
		text, err := f.fill(h.inv.ID, f.template)
		if err != nil {
			return nil, nil, err
		}
		t.Files[f.path] = tasks.SHA256(text)
		files = append(files, tasks.File{Path: f.path, Content: text, Mode: 0o644, Owner: h.inv.ID})
	}
	return files, []tasks.Task{t}, nil
}
