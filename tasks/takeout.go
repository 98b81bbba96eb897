package tasks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// TakeOut wants lines that an admin wrote by hand, and that do what ours do, to be
// comments: conns of strongSwan, or users of pppd. It takes them out only by consent
// (Adopt); without it they stay, and what they do is told elsewhere.
type TakeOut struct {
	Of    string // what the lines hold: "conns" or "users"
	Lines []OutLines
	// Daemon reads conns anew; zero for users, whom each pppd looks up.
	Daemon Daemon
	// Ours is the conn of ours that is to be up before an SA of theirs ends, "" for none.
	Ours  string
	Adopt bool
}

// OutLines are lines of one file that are to be comments.
type OutLines struct {
	Path, SHA256 string
	First, Last  int
	Name         string // of the conn, or the user
	Does         string // "answers L2TP clients"
	Stays        string // why they cannot be taken out; "": they can
}

// ID implements Task.
func (t TakeOut) ID() string { return kindLines + ":" + t.Of }

// Reads implements Task. What Lines are found by, who found them has read.
func (t TakeOut) Reads() []Read { return []Read{{Kind: ReadFile, Arg: ManifestPath}} }

// Digest implements Digester: what is wanted is always the same.
func (t TakeOut) Digest() string { return digest("lines of others taken out", t.Of) }

// Record implements Recorder. The files in which lines were taken out are noted, and
// nothing of the lines: they stand there still, as comments.
func (t TakeOut) Record(had *Entry, _ Facts) Entry {
	e := Entry{Kind: kindLines, Daemon: t.Daemon.Name}
	var files []string
	if t.Adopt {
		for _, l := range t.Lines {
			if l.Stays == "" {
				files = append(files, l.Path)
			}
		}
	}
	e.noteFiles(had, files)
	return e
}

// noteFiles notes files in which lines were taken out, with those of before.
func (e *Entry) noteFiles(had *Entry, files []string) {
	if had != nil {
		files = append(slices.Clone(had.Files), files...)
	}
	slices.Sort(files)
	e.Files = slices.Compact(files)
}

// Check implements Task.
func (t TakeOut) Check(Facts) (*Change, error) {
	if !t.Adopt || len(t.Lines) == 0 {
		return nil, nil
	}
	c := &Change{Task: t.ID(), Action: Update, Parts: t.parts()}
	out := outRanges{}
	var stay, conns []string
	for _, l := range t.Lines {
		place := fmt.Sprintf("%s:%d", l.Path, l.First)
		if l.Stays != "" {
			stay = append(stay, fmt.Sprintf("%s: %s %s: %s", place, t.word(), l.Name, l.Stays))
		}
		c.Attrs = append(c.Attrs, Attr{Name: place, Old: fmt.Appendf(nil, "%s %s, which %s", t.word(), l.Name, l.Does), New: []byte("a comment")})
		out.add(c, l.Path, l.SHA256, l.First, l.Last)
		if !strings.HasPrefix(l.Name, "%") && !slices.Contains(conns, l.Name) {
			conns = append(conns, l.Name)
		}
	}
	if len(stay) > 0 {
		c.Blocked = strings.Join(stay, "; ")
		c.Mend = "take it out on the host, or give the inventory what keeps it apart from vpnpush's"
	}
	c.Do = out.steps()
	if t.Of == TakeOutConns {
		t.reload(c)
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: t.Daemon.Name + "_relieve " + transport.Quote(t.Ours) + quoteList(conns)})
		c.Note = "they come back when vpnpush leaves; their SAs end"
	} else {
		c.Note = "they come back when vpnpush leaves"
	}
	return c, nil
}

// TakeOutConns and TakeOutUsers are what lines can hold.
const (
	TakeOutConns = "conns"
	TakeOutUsers = "users"
)

func (t TakeOut) word() string { return strings.TrimSuffix(t.Of, "s") }

func (t TakeOut) parts() []Part {
	if t.Of == TakeOutConns {
		return []Part{PartUnits, t.Daemon.Part, PartKeys}
	}
	return []Part{PartKeys}
}

// reload adds to c that the daemon runs with the conns that are in files now. One that
// does not run reads them when it starts.
func (t TakeOut) reload(c *Change) {
	unit := transport.Quote(t.Daemon.Unit)
	s := Step{Phase: PhaseServices, Shell: "if systemctl --quiet is-active " + unit + "; then " + t.Daemon.Name + "_load " + unit + "; fi"}
	c.Do, c.Undo = append(c.Do, s), append(c.Undo, s)
}

// outRanges are lines to be taken out, by file.
type outRanges map[string][]string

// add adds lines, and that their file is as it was and is backed up.
func (o outRanges) add(c *Change, path, sha string, first, last int) {
	if o[path] == nil {
		c.Pre = append(c.Pre, Precondition{Path: path, SHA256: sha})
		c.Backups = append(c.Backups, path)
	}
	o[path] = append(o[path], fmt.Sprintf("%d,%d", first, last))
}

func (o outRanges) steps() []Step {
	var out []Step
	for _, p := range sortedKeys(o) {
		out = append(out, Step{Phase: PhaseFiles, Shell: "keys_out " + transport.Quote(p) + quoteList(o[p])})
	}
	return out
}

// LinesBack wants the lines back that a TakeOut took out of files.
type LinesBack struct {
	Of     string
	Daemon Daemon
	Files  []string
}

// ID implements Task.
func (t LinesBack) ID() string { return TakeOut{Of: t.Of}.ID() }

// Reads implements Task.
func (t LinesBack) Reads() []Read {
	if t.Of == TakeOutConns {
		return t.Daemon.keyReads()
	}
	var out []Read
	for _, p := range t.Files {
		out = append(out, Read{Kind: ReadFile, Arg: p})
	}
	return out
}

// Check implements Task. A file that is read by nobody any more is left alone.
func (t LinesBack) Check(f Facts) (*Change, error) {
	took := TakeOut{Of: t.Of, Daemon: t.Daemon}
	c := &Change{Task: t.ID(), Action: Update, Parts: took.parts(), Note: "the " + t.Of + " that stood there before vpnpush came are in use again"}
	files, err := t.files(f)
	if err != nil {
		return nil, err
	}
	if !c.putBack(files, t.Files, t.Of) {
		return nil, nil
	}
	if t.Of == TakeOutConns {
		took.reload(c)
	}
	return c, nil
}

func (t LinesBack) files(f Facts) ([]keyFile, error) {
	if t.Of == TakeOutConns {
		return t.Daemon.keyFiles(f, nil)
	}
	var out []keyFile
	for _, p := range t.Files {
		s, err := f.File(p)
		if err != nil {
			return nil, err
		}
		out = append(out, keyFile{path: p, sha: s.SHA256(), out: hasTakenOut(s.Content)})
	}
	return out, nil
}

func hasTakenOut(content []byte) bool { return strings.Contains("\n"+string(content), "\n"+takenOut) }

// putBack adds to c that what was taken out of those of files that are in of is in them
// again, and reports whether there is any.
func (c *Change) putBack(files []keyFile, of []string, what string) bool {
	for _, file := range files {
		if !file.out || !slices.Contains(of, file.path) {
			continue
		}
		c.Attrs = append(c.Attrs, Attr{Name: file.path, Old: []byte(what + " taken out"), New: []byte("as before")})
		c.Pre = append(c.Pre, Precondition{Path: file.path, SHA256: file.sha})
		c.Backups = append(c.Backups, file.path)
		c.Do = append(c.Do, Step{Phase: PhaseFiles, Shell: "keys_back " + transport.Quote(file.path)})
	}
	return len(c.Do) > 0
}

// linesOut gives the admin his lines back: ours do not do any more what they did.
func linesOut(e Entry, h Leaving) ([]Task, error) {
	if len(e.Files) == 0 {
		return nil, nil
	}
	t := LinesBack{Of: strings.TrimPrefix(e.ID, kindLines+":"), Files: e.Files}
	if t.Of != TakeOutConns {
		return []Task{t}, nil
	}
	var err error
	t.Daemon, err = daemonOf(e, h.Daemons)
	return []Task{t}, err
}

// linesBack gives him those back that were taken out since.
func linesBack(_ Entry, now, was *Entry, r Rewind) ([]Task, error) {
	return takenSince(now, was, r, linesOut)
}

// takenSince returns what gives back the lines that were taken out since, of files that had
// none taken out then.
func takenSince(now, was *Entry, r Rewind, out func(Entry, Leaving) ([]Task, error)) ([]Task, error) {
	if now == nil {
		return nil, nil
	}
	since := *now
	if was != nil {
		since.Files = slices.DeleteFunc(slices.Clone(now.Files), func(p string) bool { return slices.Contains(was.Files, p) })
	}
	return out(since, Leaving{Daemons: r.Daemons})
}
