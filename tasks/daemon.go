package tasks

import "strings"

// Daemon is how strongSwan runs on a host, and is told what to do: by starter, or by
// vici. Package roles has a value for each.
type Daemon struct {
	// Name is what the names of the functions in Part begin with:
	//
	//	NAME_start UNIT              start it, for a Unit
	//	NAME_settings UNIT [NOTE FILE]  charon reads its settings again, if it runs; FILE is noted
	//	NAME_load UNIT FILE...       it runs with what the files say
	//	NAME_loaded UNIT CONN...     read back: it knows each of them
	//	NAME_sas CONN...             print their IKE SAs, one a line
	//	NAME_reopen SAS              make these anew, with what their conns are now
	//	NAME_down CONN...            no SA of them is left
	//	NAME_reread UNIT FILE...     it runs with the keys that are in the files now
	//	NAME_relieve OURS CONN...    OURS, if it is one, is up or had its time; no SA of CONN is left. Of one whose conns can be taken out
	//	NAME_own                     in namespaces: one of their own has loaded the files, or has ended
	//	NAME_state CONN              print "up", "bare" (no child SA), "none" or "other"
	Name string
	Unit string
	Part Part
	// Twin has what a rehearsal needs besides:
	//
	//	NAME_bare                    no conn and no key of the host is left, in a copy of it
	//	NAME_about                   print the version and the plugins, where it runs and has loaded its files
	Twin Part
	// Ours is what the paths of our conns' files begin with: the name of the conn, which
	// has no dot, and an ending follow. A folder, which ends in a slash, is ours whole, and
	// goes with the last of them.
	Ours string
	// ConfSuffix ends the name of a conn's file.
	ConfSuffix string
	// Keys are where it reads keys from, all but what includes of one that is read whole
	// bring from elsewhere.
	Keys []KeySource
	// Packages are what it is installed by. Package is the one among them that brings
	// charon, and Status the command that prints what charon runs with, its plugins
	// too, and fails where it does not run.
	Packages        []string
	Package, Status string
	// Dial returns the shell that dials a conn which is not up, and ends first what is
	// left of it. How that ends is seen in the SAs.
	Dial func(conn string) string
}

// Service returns the unit's name as people type it, without its suffix.
func (d Daemon) Service() string { return strings.TrimSuffix(d.Unit, ".service") }

// folder returns the folder that is ours whole, "" for none.
func (d Daemon) folder() string {
	dir, whole := strings.CutSuffix(d.Ours, "/")
	if !whole {
		return ""
	}
	return dir
}

// connOf returns the conn that is in a file of the daemon's, "" for no conn.
func (d Daemon) connOf(file string) string {
	name, ours := strings.CutPrefix(file, d.Ours)
	name, conf := strings.CutSuffix(name, d.ConfSuffix)
	if !ours || !conf || strings.ContainsAny(name, "/.") {
		return ""
	}
	return name
}
