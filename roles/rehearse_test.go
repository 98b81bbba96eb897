package roles

import (
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// rehearsal returns the rehearsal of a whole inventory on a hub that had nothing.
func rehearsal(t *testing.T) host.Rehearsal {
	t.Helper()
	inv := full()
	hub := of(t, inv, inv.Hub.Name)
	f := bare(hub)
	ts, err := hub.Tasks(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := host.Rehearsal{Daemon: hub.Daemon(f), Hub: host.RehearsedHub{Local: hubLocal(inv).String(), Public: inv.Hub.Address.String()}}
	for _, task := range ts {
		c, err := task.Check(f)
		if err != nil {
			t.Fatal(err)
		}
		if c != nil {
			x.Hub.Changes = append(x.Hub.Changes, *c)
		}
	}
	for _, s := range inv.Sites {
		site := of(t, inv, s.Name)
		twin, err := site.Twin(x.Daemon, tasks.Facts{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		x.Sites = append(x.Sites, host.RehearsedSite{Conn: s.Name, Inside: tasks.Insides(site.Tunnels()[0].Local), Twin: twin})
	}
	return x
}

// What a rehearsal runs as root is clean shell, in the eyes of shellcheck and of each
// shell; and what others on the hub can see of it, its arguments, holds no key.
func TestRehearsalIsCleanShell(t *testing.T) {
	x := rehearsal(t)
	script, err := x.Script()
	if err != nil {
		t.Fatal(err)
	}
	transporttest.CleanShell(t, script.Reveal())
	transporttest.CleanShell(t, "#!/bin/sh\n"+x.Launch())
	for _, s := range full().Sites {
		if psk := s.PSK.Reveal(); psk == "" || !strings.Contains(script.Reveal(), psk) || strings.Contains(x.Launch(), psk) {
			t.Errorf("%s: its key is to come by standard input, and in no argument", s.Name)
		}
	}
}

// A site's twin stands on the hub: it has the key of its own tunnel, what the admin has
// written into the main file of conns on the site, and no key that is the site's alone.
func TestTwinHasWhatTheSiteMayShow(t *testing.T) {
	inv := full()
	s := inv.Sites[0]
	const conns, keys = "conn mine\n    auto=add", "@me : PSK \"a-key-of-the-sites-alone\"\n"
	f := tasks.NewFacts(tasks.Known{Files: map[string]tasks.FileState{
		ipsecConf: {Path: ipsecConf, Exists: true, Type: '0', Content: []byte(conns)},
		ipsecKeys: {Path: ipsecKeys, Exists: true, Type: '0', Content: []byte(keys)},
	}})
	twin, err := of(t, inv, s.Name).Twin(starter.Daemon, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, step := range twin.Files {
		if step.Phase != tasks.PhaseFiles || !strings.HasSuffix(step.Stdin.Reveal(), "\n") {
			t.Errorf("%s: not a step that a script can have", step.Shell)
		}
		all += step.Shell + "\n" + step.Stdin.Reveal()
	}
	for _, want := range []string{conns + "\n" + includeConf + "\n", s.PSK.Reveal(), confDir + s.Name + confSuffix, charonConf} {
		if !strings.Contains(all, want) {
			t.Errorf("the twin lacks %q", want)
		}
	}
	if strings.Contains(all, "alone") {
		t.Error("a key of the site's own would come to the hub")
	}
	if _, err := of(t, inv, s.Name).Twin(tasks.Daemon{Name: "another"}, f, nil); err == nil {
		t.Error("a twin by a strongSwan that nobody knows")
	}
}
