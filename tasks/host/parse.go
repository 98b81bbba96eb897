package host

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// Unpack returns what a host answered to the script of Probe as ParseFacts reads it, and
// whether it came packed. It may have most bytes, however small it came.
func Unpack(answer []byte, most int) (out []byte, packed bool, err error) {
	// as in parseAnswer, a login script may have printed something
	i := bytes.Index(answer, []byte(packedMark))
	if i < 0 {
		return answer, false, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(answer[i+len(packedMark):]))
	if err == nil {
		// gzip tells the length at its end, modulo 4 GiB: it is believed as far as it may be
		n := binary.LittleEndian.Uint32(answer[len(answer)-4:])
		buf := bytes.NewBuffer(make([]byte, 0, min(int64(n), int64(most), maxRatio*int64(len(answer)))+bytes.MinRead))
		_, err = buf.ReadFrom(io.LimitReader(z, int64(most)+1))
		out = buf.Bytes()
	}
	switch {
	case len(out) > most:
		return nil, true, fmt.Errorf("read facts: %w: more than %d KiB, unpacked", transport.ErrEndless, most>>10)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, true, fmt.Errorf("read facts: %w: the answer is cut short after %d bytes", tasks.ErrUnknown, len(answer))
	case err != nil:
		return nil, true, fmt.Errorf("read facts: %w: unpack the answer: %w", tasks.ErrUnknown, err)
	}
	return out, true, nil
}

// ParseFacts parses what the script of Probe printed, unpacked. have is what Probe was given.
// An answer that is cut short, or that a host's shell garbled, is an error: there are no half
// facts.
func ParseFacts(answer []byte, have Have) (tasks.Facts, error) {
	f, err := parseAnswer(answer, have)
	var mended transport.Hinter
	if err != nil && !errors.Is(err, tasks.ErrUnknown) && !errors.Is(err, transport.ErrEndless) && !errors.As(err, &mended) {
		err = fmt.Errorf("%w: %w", tasks.ErrUnknown, err) // garbled
	}
	if err != nil {
		return tasks.Facts{}, fmt.Errorf("read facts: %w", err)
	}
	return tasks.NewFacts(*f), nil
}

func parseAnswer(data []byte, have Have) (*tasks.Known, error) {
	f := &tasks.Known{
		Host:  tasks.Platform{FreeKiB: map[string]int64{}, OS: map[string]string{}},
		Files: map[string]tasks.FileState{}, Globs: map[string]bool{}, Packages: map[string]tasks.PackageState{},
		Units: map[string]tasks.UnitState{}, Sysctls: map[string]tasks.SysctlState{}, Commands: map[string]tasks.CommandState{},
	}
	// A login script that prints something comes before the answer.
	if i := bytes.Index(data, []byte("vpnpush-facts 1\n"+sectionMark)); i >= 0 {
		data = data[i+len("vpnpush-facts 1"):]
	} else {
		return f, fmt.Errorf("%w: the answer does not start as one: %.60q", tasks.ErrUnknown, data)
	}
	text, archive, ok := bytes.Cut(data, []byte(tarMark))
	if !ok {
		return f, fmt.Errorf("%w: the answer is cut short after %d bytes", tasks.ErrUnknown, len(data))
	}
	archive, tarStatus, ok := cutEnd(archive)
	if !ok {
		return f, fmt.Errorf("%w: the answer is cut short after %d bytes", tasks.ErrUnknown, len(data))
	}
	p := sections{partsLeft: partsBase + len(data)/bytesPerPart, have: have}
	_, text, more := bytes.Cut(text, []byte("\n"+sectionMark))
	for more {
		var s []byte
		s, text, more = bytes.Cut(text, []byte("\n"+sectionMark))
		head, body, _ := bytes.Cut(s, []byte("\n"))
		if err := p.part(); err != nil {
			return f, err
		}
		if err := p.add(f, strings.SplitN(string(head), "\t", 5), body); err != nil {
			return f, err
		}
	}
	if tarStatus != "0" {
		if err := f.Host.Root(); err != nil {
			return f, err // which is why
		}
		return f, transport.WithHint(fmt.Errorf("%w: the files were not read to the end: tar: exit status %s", tasks.ErrUnknown, tarStatus),
			"try again: a file may have changed while it was read; else look for a disk error on the host (dmesg)")
	}
	if err := p.files(f, archive); err != nil {
		return f, err
	}
	if err := p.finish(f); err != nil {
		return f, err
	}
	return f, nil
}

// cutEnd cuts off the last line of an answer, and returns the status of tar that stands
// in it.
func cutEnd(archive []byte) (files []byte, tarStatus string, ok bool) {
	i := bytes.LastIndex(archive, []byte(endMark))
	if i < 0 {
		return nil, "", false
	}
	tarStatus, ok = strings.CutSuffix(string(archive[i+len(endMark):]), "\n")
	return archive[:i], tarStatus, ok && tarStatus != "" && strings.Trim(tarStatus, "0123456789") == ""
}

// sections collects what has to be put together from more than one section.
type sections struct {
	packages  []byte
	hasPkgs   bool
	pkgStatus int
	unitNames []string
	noUnits   []string
	sysv      map[string]bool
	uptime    float64
	stdout    map[string][]byte
	partsLeft int
	have      Have
}

// part counts a part of the answer; an error says that it has too many.
func (p *sections) part() error {
	if p.partsLeft--; p.partsLeft < 0 {
		return fmt.Errorf("%w: it has more parts than anything that was asked for", transport.ErrEndless)
	}
	return nil
}

func (p *sections) add(f *tasks.Known, head []string, body []byte) error {
	arg := func(i int) string {
		if i < len(head) {
			return head[i]
		}
		return ""
	}
	line := strings.TrimRight(string(body), "\n")
	switch head[0] {
	case "host":
		return p.host(f, arg(1), arg(2), line)
	case "host-absent":
	case "sysctl":
		f.Sysctls[arg(1)] = tasks.SysctlState{Exists: true, Value: line}
	case "sysctl-absent":
		f.Sysctls[arg(1)] = tasks.SysctlState{}
	case "packages":
		p.packages, p.hasPkgs = body, true
	case "package-names":
		for n := range strings.FieldsSeq(line) {
			if err := p.part(); err != nil {
				return err
			}
			f.Packages[n] = tasks.PackageState{Name: n}
		}
	case "packages-status":
		n, err := strconv.Atoi(arg(1))
		if err != nil {
			return fmt.Errorf("status of dpkg-query: %w", err)
		}
		p.pkgStatus = n
	case "command":
		if p.stdout == nil {
			p.stdout = map[string][]byte{}
		}
		p.stdout[arg(1)] = body
	case "status":
		out, ok := p.stdout[arg(1)]
		n, err := strconv.Atoi(arg(2))
		if !ok || err != nil {
			return fmt.Errorf("status of command %q: %q", arg(1), arg(2))
		}
		f.Commands[arg(1)] = tasks.CommandState{Stdout: out, Stderr: body, Code: n}
	case "unit-names":
		for n := range strings.FieldsSeq(line) {
			if err := p.part(); err != nil {
				return err
			}
			p.unitNames = append(p.unitNames, n)
		}
	case "no-unit":
		p.noUnits = append(p.noUnits, arg(1))
	case "sysv":
		if p.sysv == nil {
			p.sysv = map[string]bool{}
		}
		p.sysv[arg(1)] = true
	case "newline":
		return transport.WithHint(fmt.Errorf("%w: a file with a line break in its name, which begins %q", tasks.ErrUnknown, line),
			"look at it on the host: nothing that vpnpush or strongSwan reads has such a name")
	case "absent":
		f.Files[arg(1)] = tasks.FileState{Path: arg(1)}
	case "have":
		s, err := p.expected(head)
		if err != nil {
			return err
		}
		f.Files[s.Path] = s
	case "glob":
		f.Globs[arg(1)] = true
	default:
		return fmt.Errorf("%w: section %q", tasks.ErrUnknown, head[0])
	}
	return nil
}

// expected returns a file that holds what was expected of it.
func (p *sections) expected(head []string) (tasks.FileState, error) {
	s := tasks.FileState{Exists: true, Type: tar.TypeReg}
	if len(head) == 5 {
		mode, err1 := strconv.ParseUint(head[1], 8, 12)
		sec, err2 := strconv.ParseInt(head[3], 10, 64)
		content, ok := p.have[head[4]]
		if err1 == nil && err2 == nil && ok {
			s.Path, s.Content, s.Mode, s.Owner, s.ModTime = head[4], content, fs.FileMode(mode), head[2], time.Unix(sec, 0).UTC()
			return s, nil
		}
	}
	return s, fmt.Errorf("a file as it was expected: %q", head)
}

func (p *sections) host(f *tasks.Known, what, arg, line string) error {
	h := &f.Host
	var err error
	switch what {
	case "kernel":
		h.Kernel = line
	case "boot_id":
		h.BootID = line
	case "arch":
		h.Arch = line
	case "uptime":
		first, _, _ := strings.Cut(line, " ")
		p.uptime, err = strconv.ParseFloat(first, 64)
	case "uid":
		h.UID, err = strconv.Atoi(line)
	case "now":
		var n int64
		n, err = strconv.ParseInt(line, 10, 64)
		h.Now = time.Unix(n, 0).UTC()
	case "systemd":
		h.Systemd = true
	case "ppp":
		h.PPP = true
	case "readonly":
		h.ReadOnly = append(h.ReadOnly, arg)
	case "df":
		for l := range strings.Lines(line) {
			if err := p.part(); err != nil {
				return err
			}
			w := strings.Fields(l)
			if len(w) < 6 {
				continue
			}
			if n, err := strconv.ParseInt(w[3], 10, 64); err == nil { // not the heading
				h.FreeKiB[strings.Join(w[5:], " ")] = n
			}
		}
	default:
		return fmt.Errorf("%w: host fact %q", tasks.ErrUnknown, what)
	}
	if err != nil {
		return fmt.Errorf("host fact %s: %w", what, err)
	}
	return nil
}

func (p *sections) finish(f *tasks.Known) error {
	f.Host.Boot = f.Host.Now.Add(-time.Duration(p.uptime * float64(time.Second)))
	if osr := f.Files["/etc/os-release"]; osr.Exists && osr.Err == "" {
		f.Host.OS = osRelease(osr.Content)
	} else if l := f.Files["/usr/lib/os-release"]; l.Exists {
		f.Host.OS = osRelease(l.Content)
	}
	if p.hasPkgs {
		// 1: one of them is unknown to dpkg. 127: no dpkg, so nothing is installed.
		if p.pkgStatus != 0 && p.pkgStatus != 1 && p.pkgStatus != 127 {
			return fmt.Errorf("%w: dpkg-query: exit status %d", tasks.ErrUnknown, p.pkgStatus)
		}
		if err := p.readPackages(f); err != nil {
			return err
		}
	}
	for _, n := range p.noUnits {
		f.Units[n] = tasks.UnitState{Name: n, Active: "inactive", Enabled: p.sysv[n]}
	}
	if u, ok := f.Commands["units"]; ok {
		if err := readUnits(f, u, p.unitNames, p.sysv); err != nil {
			return err
		}
	}
	return nil
}

// osRelease reads os-release(5).
func osRelease(b []byte) map[string]string {
	m := map[string]string{}
	for l := range strings.Lines(string(b[:min(len(b), maxOSRelease)])) {
		k, v, ok := strings.Cut(strings.TrimSpace(l), "=")
		if ok && !strings.HasPrefix(k, "#") {
			m[k] = strings.Trim(v, `"'`)
		}
	}
	return m
}

// files reads the archive: regular files, links and folders. A file that is written as
// holes could have any size: one of 1.5 KB can be one of 64 GiB.
func (p *sections) files(f *tasks.Known, archive []byte) error {
	if len(archive) == 0 {
		return nil
	}
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("files: %w", err)
		}
		if err := p.part(); err != nil {
			return err
		}
		switch {
		case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink && h.Typeflag != tar.TypeDir:
			return transport.WithHint(fmt.Errorf("%s is neither a file nor a link nor a folder (tar calls it %q)", h.Name, h.Typeflag),
				"look at it on the host: vpnpush reads it, and nothing of that kind belongs there")
		case sparse(h.PAXRecords) || h.Size > int64(len(archive)):
			return fmt.Errorf("%s: %w: its %d bytes are not in the answer", h.Name, transport.ErrEndless, h.Size)
		}
		s := tasks.FileState{
			Path: h.Name, Exists: true, Type: h.Typeflag, Mode: fs.FileMode(h.Mode) & 0o7777,
			Owner: h.Uname + ":" + h.Gname, ModTime: h.ModTime.UTC(),
		}
		if h.Uname == "" || h.Gname == "" {
			s.Owner = fmt.Sprintf("%d:%d", h.Uid, h.Gid)
		}
		if h.Typeflag == tar.TypeReg {
			s.Content = make([]byte, h.Size)
			if _, err := io.ReadFull(tr, s.Content); err != nil {
				return fmt.Errorf("file %s: %w", h.Name, err)
			}
		}
		// /etc/os-release is a link on Debian
		if h.Name == "/etc/os-release" && h.Typeflag == tar.TypeSymlink {
			continue
		}
		f.Files[h.Name] = s
	}
}

// sparse reports whether a file has holes that its archive does not hold, written in the
// way of PAX; that of old GNU has a type of its own.
func sparse(records map[string]string) bool {
	for k := range records {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// readPackages reads "NAME\tSTATUS\tVERSION\n" records, each
// followed by its conffiles (" PATH MD5[ obsolete]") and an empty line.
func (p *sections) readPackages(f *tasks.Known) error {
	var cur *tasks.PackageState
	put := func() {
		if cur != nil {
			f.Packages[cur.Name] = *cur
		}
	}
	for l := range strings.Lines(string(p.packages)) {
		if err := p.part(); err != nil {
			return err
		}
		l = strings.TrimRight(l, "\n")
		switch {
		case strings.TrimSpace(l) == "":
		case strings.HasPrefix(l, " "):
			w := strings.Fields(l)
			if cur == nil || len(w) < 2 {
				return fmt.Errorf("%w: dpkg-query printed %q", tasks.ErrUnknown, l)
			}
			if cur.Conffiles == nil {
				cur.Conffiles = map[string]string{}
			}
			cur.Conffiles[w[0]] = w[1]
		default:
			w := strings.SplitN(l, "\t", 4)
			if len(w) != 3 {
				return fmt.Errorf("%w: dpkg-query printed %q", tasks.ErrUnknown, l)
			}
			put()
			cur = &tasks.PackageState{Name: w[0], Installed: w[1] == "installed"}
			if cur.Installed {
				cur.Version = w[2]
			}
		}
	}
	put()
	if c, ok := f.Commands["apt-policy"]; ok && c.Code == 0 {
		name := ""
		for l := range strings.Lines(string(c.Stdout)) {
			if !strings.HasPrefix(l, " ") {
				name = strings.TrimSuffix(strings.TrimSpace(l), ":")
				continue
			}
			if v, ok := strings.CutPrefix(strings.TrimSpace(l), "Candidate: "); ok && name != "" && v != "(none)" {
				if err := p.part(); err != nil {
					return err
				}
				s := f.Packages[name]
				s.Name, s.Candidate = name, v
				f.Packages[name] = s
			}
		}
	}
	return nil
}

func readUnits(f *tasks.Known, c tasks.CommandState, names []string, sysv map[string]bool) error {
	if c.Code != 0 {
		if !f.Host.Systemd {
			return nil // no systemd: units stay unknown, and the preflight says so
		}
		return fmt.Errorf("%w: systemctl show: exit status %d: %s", tasks.ErrUnknown, c.Code, bytes.TrimSpace(c.Stderr))
	}
	text := strings.TrimSpace(string(c.Stdout))
	if n := strings.Count(text, "\n\n") + 1; n != len(names) {
		return fmt.Errorf("%w: systemctl show told of %d units, asked for %d", tasks.ErrUnknown, n, len(names))
	}
	for i, b := range strings.Split(text, "\n\n") {
		kv := map[string]string{"LoadState": "", "ActiveState": "", "UnitFileState": "", "ActiveEnterTimestampMonotonic": ""}
		for l := range strings.Lines(b) {
			k, v, _ := strings.Cut(strings.TrimRight(l, "\n"), "=")
			if _, ok := kv[k]; ok {
				kv[k] = v
			}
		}
		u := tasks.UnitState{
			Name: names[i], Loaded: kv["LoadState"] == "loaded", Active: kv["ActiveState"],
			State: kv["UnitFileState"], Enabled: kv["UnitFileState"] == "enabled" || sysv[names[i]],
		}
		if us, err := strconv.ParseInt(kv["ActiveEnterTimestampMonotonic"], 10, 64); err == nil && us > 0 {
			u.Started = f.Host.Boot.Add(time.Duration(us) * time.Microsecond)
		}
		f.Units[names[i]] = u
	}
	return nil
}
