package tasks

import (
	"archive/tar"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// ForeignKeys wants no key on a host that is not ours and opens a conn of ours: who
// knows it can be the other end. Keys that open only the admin's own conns stay.
type ForeignKeys struct {
	Daemon Daemon
	Doors  []Door
	Ours   []string // the files that hold our keys
	Adopt  bool     // take them out
	// Later says that a tunnel of the admin's, which is to go, is not replaced yet, and may
	// need its key once more: Adopt does not take them out this time.
	Later bool
}

// Door is a conn of ours, and what a key of it is good for.
type Door struct {
	strongswan.Door
	// Host is the other end, which who has a key can pose as; "": the conn is for
	// L2TP clients.
	Host string
}

// KeySource is where keys are read from on a host: files whole, by their syntax, or a
// command that lists what stands in them:
//
//	file PATH SHA256    a file; what follows is in it
//	key LINE TEXT       a line with a key, up to the secret, which it does not print
//	out LINE            a line that a ForeignKeys has taken out
//	unread PATH         a file that it could not read
//	cut                 there are more files than it reads
//
// with tabs between the words. It may list lines of other files, as "line LINE TEXT".
type KeySource struct {
	Read   Read
	Syntax mask.Syntax
}

const foreignKeysID = "keys:foreign"

// MendForeignKey says what to do about a foreign key.
const MendForeignKey = "take it out on the host, or let it be found by an identity that is none of vpnpush's; " +
	"`vpnpush apply --adopt` backs the file up and makes the line a comment"

// takenOut begins a line that was taken out (keys.sh).
const takenOut = "# taken out by vpnpush: "

// ID implements Task.
func (t ForeignKeys) ID() string { return foreignKeysID }

// Reads implements Task.
func (t ForeignKeys) Reads() []Read {
	return append(t.Daemon.keyReads(), Read{Kind: ReadFile, Arg: ManifestPath})
}

func (d Daemon) keyReads() []Read {
	var out []Read
	for _, s := range d.Keys {
		out = append(out, s.Read)
	}
	return out
}

// Digest implements Digester: what is wanted is always the same.
func (t ForeignKeys) Digest() string { return digest("no foreign keys") }

// Record implements Recorder. The files in which lines were taken out are noted, and
// nothing of the lines: they stand there still, as comments.
func (t ForeignKeys) Record(had *Entry, f Facts) Entry {
	e := Entry{Kind: kindKeys, Daemon: t.Daemon.Name}
	var files []string
	if found, err := t.find(f); err == nil && t.Adopt && !t.Later {
		for _, k := range found {
			files = append(files, k.file)
		}
	}
	e.noteFiles(had, files)
	return e
}

// Check implements Task.
func (t ForeignKeys) Check(f Facts) (*Change, error) {
	found, err := t.find(f)
	if err != nil || len(found) == 0 || t.Adopt && t.Later {
		return nil, err
	}
	c := &Change{Task: t.ID(), Action: Delete, Parts: []Part{PartUnits, t.Daemon.Part, PartKeys}}
	var says, shared []string
	out := outRanges{}
	for _, k := range found {
		c.Attrs = append(c.Attrs, Attr{Name: k.place(), Old: []byte(k.Shown() + " : PSK (secret)")})
		says = append(says, k.says())
		if !k.Alone {
			shared = append(shared, k.place())
		}
		out.add(c, k.file, k.sha, k.First, k.Last)
	}
	switch {
	case !t.Adopt:
		c.Blocked = strings.Join(says, "; ")
		c.Mend = MendForeignKey
	case len(shared) > 0:
		c.Blocked = strings.Join(says, "; ")
		c.Mend = "take it out of " + strings.Join(shared, ", ") + " on the host: it shares its line with something else"
	default:
		c.Note = strings.Join(says, "; ")
	}
	c.Do = out.steps()
	t.Daemon.reread(c, sortedKeys(out))
	return c, nil
}

// reread adds to c that the daemon runs with the keys that are in files now.
func (d Daemon) reread(c *Change, files []string) {
	s := Step{Phase: PhaseServices, Shell: d.Name + "_reread " + transport.Quote(d.Unit) + quoteList(files)}
	c.Do, c.Undo = append(c.Do, s), append(c.Undo, s)
}

// foreignKey is a key that is not ours, and what it opens.
type foreignKey struct {
	mask.Key
	file, sha string
	opens     []Door
}

// place returns where the key stands, as compilers say it.
func (k foreignKey) place() string { return k.file + ":" + strconv.Itoa(k.First) }

// says returns what is wrong with the key, in a sentence.
func (k foreignKey) says() string {
	return fmt.Sprintf("%s has a key for %s: who knows it can %s", k.place(), k.Shown(), lets(k.opens))
}

// Found returns a sentence for each foreign key of a host.
func (t ForeignKeys) Found(f Facts) ([]string, error) {
	found, err := t.find(f)
	var out []string
	for _, k := range found {
		out = append(out, k.says())
	}
	return out, err
}

// lets returns what a key is good for that opens doors.
func lets(doors []Door) string {
	var hosts, can []string
	for _, d := range doors {
		if d.Host == "" {
			can = append(can, "pass for an L2TP client up to its password")
		} else {
			hosts = append(hosts, d.Host)
		}
	}
	if n := len(hosts); n > 0 {
		slices.Sort(hosts)
		names := strings.Join(hosts[:min(n, 3)], ", ")
		if n > 3 {
			names += fmt.Sprintf(" and %d more", n-3)
		}
		can = append([]string{"pose as " + names}, can...)
	}
	return strings.Join(can, ", and ")
}

// find returns the keys of a host that open a conn of ours and are not ours.
func (t ForeignKeys) find(f Facts) ([]foreignKey, error) {
	m, err := ReadManifest(f)
	if err != nil {
		return nil, err
	}
	own := asSet(t.Ours)
	ours := func(path string) bool { return own[path] || m.Owns(path) }
	files, err := t.Daemon.keyFiles(f, ours)
	if err != nil {
		return nil, err
	}
	selectors := map[string][]string{} // of sections of one name
	for _, file := range files {
		for _, k := range file.keys {
			selectors[k.Name] = append(selectors[k.Name], k.Selectors...)
		}
	}
	var out []foreignKey
	for _, file := range files {
		if ours(file.path) {
			continue
		}
		for _, k := range file.keys {
			if k.Name != "" {
				k.Selectors = selectors[k.Name]
			}
			var opens []Door
			for _, d := range t.Doors {
				if k.Secret && d.OpenedBy(k.Selectors) {
					opens = append(opens, d)
				}
			}
			if len(opens) > 0 {
				out = append(out, foreignKey{Key: k, file: file.path, sha: file.sha, opens: opens})
			}
		}
	}
	return out, nil
}

// keyFile is a file that the daemon reads keys from.
type keyFile struct {
	path, sha string
	keys      []mask.Key
	out       bool // it has lines that were taken out
}

// keyFiles returns the files that the daemon reads keys from, without those which skip
// says that nobody asks for: a hub has thousands of its own. nil: all of them. One in whose
// syntax a section of another file can be named is not skipped.
func (d Daemon) keyFiles(f Facts, skip func(path string) bool) ([]keyFile, error) {
	var out []keyFile
	for _, s := range d.Keys {
		if s.Read.Kind == ReadCommand {
			text, err := f.Output(s.Read.Arg)
			if err != nil {
				return nil, err
			}
			listed, err := parseKeyList(s.Syntax, text)
			if err != nil {
				return nil, fmt.Errorf("command %s: %w: %w", s.Read.Arg, ErrUnknown, err)
			}
			out = append(out, listed...)
			continue
		}
		found, err := f.Glob(s.Read.Arg)
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			if file.Type == tar.TypeDir {
				continue
			}
			if file.Type == tar.TypeReg && s.Syntax == mask.IPsecSecrets && skip != nil && skip(file.Path) {
				continue
			}
			if file.Type != tar.TypeReg {
				return nil, transport.WithHint(fmt.Errorf("file %s: %w: it is not a regular file, and may hold keys", file.Path, ErrUnknown), "put the file itself there")
			}
			out = append(out, keyFile{
				path: file.Path, sha: file.SHA256(), keys: mask.Keys(s.Syntax, file.Content),
				out: hasTakenOut(file.Content),
			})
		}
	}
	return out, nil
}

// parseKeyList parses what the command of a KeySource printed.
func parseKeyList(syntax mask.Syntax, text []byte) ([]keyFile, error) {
	var out []keyFile
	for l := range strings.Lines(string(text)) {
		w := strings.SplitN(strings.TrimSuffix(l, "\n"), "\t", 3)
		switch {
		case w[0] == "file" && len(w) == 3:
			out = append(out, keyFile{path: w[1], sha: w[2]})
		case w[0] == "key" && len(w) == 3 && len(out) > 0:
			n, err := strconv.Atoi(w[1])
			if err != nil {
				return nil, fmt.Errorf("not a line's number: %.20q", w[1])
			}
			file := &out[len(out)-1]
			for _, k := range mask.Keys(syntax, []byte(w[2]+"-")) { // in the place of the secret
				k.First, k.Last = n, n
				file.keys = append(file.keys, k)
			}
		case w[0] == "out" && len(w) == 2 && len(out) > 0:
			out[len(out)-1].out = true
		case w[0] == "line" && len(w) == 3:
		case w[0] == "unread" && len(w) == 2:
			return nil, fmt.Errorf("the keys of %s cannot be read", w[1])
		case w[0] == "cut":
			return nil, transport.WithHint(errors.New("there are more files with keys than are read"), "look for an include that matches too much")
		default:
			return nil, fmt.Errorf("not understood: %.60q", l)
		}
	}
	return out, nil
}

// KeysBack wants the lines back that a ForeignKeys took out of files.
type KeysBack struct {
	Daemon Daemon
	Files  []string
}

// ID implements Task.
func (t KeysBack) ID() string { return foreignKeysID }

// Reads implements Task.
func (t KeysBack) Reads() []Read { return t.Daemon.keyReads() }

// Check implements Task. A file that the daemon does not read any more is left alone.
func (t KeysBack) Check(f Facts) (*Change, error) {
	files, err := t.Daemon.keyFiles(f, nil)
	if err != nil {
		return nil, err
	}
	c := &Change{
		Task: t.ID(), Action: Update, Parts: []Part{PartUnits, t.Daemon.Part, PartKeys},
		Note: "the keys that stood there before vpnpush came are in use again",
	}
	if !c.putBack(files, t.Files, "keys") {
		return nil, nil
	}
	t.Daemon.reread(c, c.Backups)
	return c, nil
}

// keysOut gives the admin his keys back: without our conns they open nothing of ours.
func keysOut(e Entry, h Leaving) ([]Task, error) {
	if len(e.Files) == 0 {
		return nil, nil
	}
	d, err := daemonOf(e, h.Daemons)
	return []Task{KeysBack{Daemon: d, Files: e.Files}}, err
}

// keysBack gives him those back that were taken out since, of files that had none taken
// out then.
func keysBack(_ Entry, now, was *Entry, r Rewind) ([]Task, error) {
	return takenSince(now, was, r, keysOut)
}
