package tasks

import (
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// Swap wants one way to run strongSwan in the place of another: the packages of To, and
// From neither running nor started at the next boot. There is one gap, in which the host
// has no tunnel: from the stop of the one service to the start of the other.
//
// It is not recorded: that From does not run is what the manifest's silence says.
type Swap struct {
	From, To Daemon
}

// ID implements Task.
func (t Swap) ID() string { return Unit{Name: t.From.Unit}.ID() }

// Reads implements Task.
func (t Swap) Reads() []Read {
	r := []Read{
		{Kind: ReadUnit, Arg: t.From.Unit}, {Kind: ReadUnit, Arg: t.To.Unit},
		{Kind: ReadPackage, Arg: t.From.Package}, {Kind: ReadFile, Arg: ManifestPath},
	}
	for _, p := range t.To.Packages {
		r = append(r, Read{Kind: ReadPackage, Arg: p})
	}
	return r
}

// Stands reports whether From is in the place of To: it runs, or is to run at the next
// boot, or its package may keep that of To out.
func (t Swap) Stands(f Facts) (bool, error) {
	u, err := f.Unit(t.From.Unit)
	if err != nil {
		return false, err
	}
	if u.Loaded && (u.Enabled || u.Active == "active" || u.Active == "activating") {
		return true, nil
	}
	from, err := f.Package(t.From.Package)
	if err != nil {
		return false, err
	}
	to, err := f.Package(t.To.Package)
	return from.Installed && !to.Installed, err
}

// Applied implements Standing.
func (t Swap) Applied(m *Manifest) bool { return m.Daemon() == t.To.Name }

// Check implements Task.
func (t Swap) Check(f Facts) (*Change, error) {
	if stands, err := t.Stands(f); err != nil || !stands {
		return nil, err
	}
	from, err := f.Unit(t.From.Unit)
	if err != nil {
		return nil, err
	}
	to, err := f.Unit(t.To.Unit)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, p := range t.To.Packages {
		st, err := f.Package(p)
		if err != nil {
			return nil, err
		}
		if !st.Installed {
			missing = append(missing, p)
		}
	}
	c := &Change{
		Task: t.ID(), Action: Update, Parts: []Part{PartUnits, PartSwap},
		Backups: []string{loadedPath(t.From.Unit)},
		// what systemd was told of it beside its own file
		Folders: []string{"/etc/systemd/system/" + t.From.Unit + ".d"},
	}
	if dir := t.From.folder(); dir != "" {
		c.Folders = append(c.Folders, dir)
	}
	c.Attrs = []Attr{{Name: "runs strongSwan", Old: []byte("yes"), New: []byte("no, " + t.To.Unit + " does")}}
	if from.Active == "active" {
		c.Note = "all tunnels of this host are down for a moment; " + t.From.Package + " goes where it cannot stay beside " + t.To.Package
		c.Blinks = connNames(f)
	}
	old, unit := transport.Quote(t.From.Unit), transport.Quote(t.To.Unit)
	if len(missing) > 0 {
		c.Do = append(c.Do, Step{Phase: PhasePackages, Shell: "swap_fetch " + transport.Quote(t.From.Package) + quoteList(missing)})
	}
	c.Do = append(c.Do,
		Step{Phase: PhaseServices, Shell: "swap_over " + old + " " + unit + quoteList(missing)},
		Step{Phase: PhaseAfter, Shell: "rm -f -- " + transport.Quote(loadedPath(t.From.Unit))},
		Step{Phase: PhaseVerify, Shell: "! systemctl --quiet is-active " + old},
	)
	isNew := "''"
	if !to.Loaded || !to.Enabled && to.Active != "active" {
		isNew = "new"
	}
	args := strings.Join([]string{old, unit, isNew}, " ")
	if from.Enabled {
		c.Undo = append(c.Undo, Step{Phase: PhaseFiles, Shell: "swap_files_back " + args})
	}
	if from.Active == "active" {
		c.Undo = append(c.Undo, Step{Phase: PhaseServices, Shell: "swap_back " + args})
	}
	return c, nil
}

// connNames returns the tunnels that the manifest has.
func connNames(f Facts) []string {
	m, err := ReadManifest(f)
	if err != nil {
		return nil
	}
	var out []string
	for _, t := range m.Tunnels() {
		out = append(out, t.Conn)
	}
	return out
}
