package sshconn

import (
	"bufio"
	"errors"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Asking `ssh -G` costs as much as all else that a plan does for a host on this side. Most
// hosts are named by no line of ssh_config, and get the same answer but for their name: so
// one is asked for that no line can name, for all of them. Hosts that have blocks of their
// own, which say the same but for HostName, get the same answer but for that and their name:
// the first of them is asked for. Where a file has something whose outcome may depend on
// the host in another way, each is asked for itself.

// anyHost stands for every host that ssh_config does not name.
const anyHost = "vpnpush-any-host.invalid"

// answer is what ssh tells of a host, whose HostName is known from its blocks.
type answer struct {
	host, hostname string
	opts           []option
	alike          bool // it is that of the others too, but for host and hostname
}

// ask asks ssh for a host.
func (d *Dialer) ask(ssh string, t *Target, host, hostname string) (*answer, error) {
	opts, err := d.askSSH(ssh, t, host)
	if err != nil {
		return nil, err
	}
	a := &answer{host, hostname, opts, true}
	for _, o := range opts {
		if o != (option{"host", host}) && o != (option{"hostname", hostname}) &&
			(strings.Contains(o.value, host) || strings.Contains(o.value, hostname)) {
			a.alike = false
		}
	}
	return a, nil
}

// optionsAlike returns the options of a host from an answer that is not only its own; not
// ok means that ssh has to be asked for this one.
func (d *Dialer) optionsAlike(ssh string, t *Target, host string) (opts []option, ok bool) {
	if !plainName(host) || strings.Contains(host, anyHost) {
		return nil, false
	}
	blocks := d.blocks()
	key, asked, hostname := anyHost, anyHost, host
	switch {
	case blocks.named(anyHost):
		return nil, false
	case blocks.named(host):
		if key, hostname, ok = blocks.signature(host); !ok {
			return nil, false
		}
		asked = host // the first that comes stands for the others
		key = "blocks\n" + key
	}
	of := hostname
	if asked == anyHost {
		of = anyHost
	}
	l := shared(d, d.alike, t.User+"\n"+strconv.Itoa(t.Port)+"\n"+key, func() (*answer, error) { return d.ask(ssh, t, asked, of) })
	<-l.done
	if l.err != nil {
		return nil, false // an error is to be told with the host's own name
	}
	a := l.val
	if a.host != host && !a.alike {
		return nil, false
	}
	if j := last(a.opts, "proxyjump"); strings.Contains(j, host) || strings.Contains(j, hostname) {
		return nil, false // ssh refuses a host that it would reach through itself
	}
	opts = slices.Clone(a.opts)
	for i, o := range opts {
		switch o {
		case option{"host", a.host}:
			opts[i].value = host
		case option{"hostname", a.hostname}:
			opts[i].value = hostname
		}
	}
	return opts, true
}

var nameChars = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// plainName reports whether ssh takes a host's name as it is written: in small letters, and
// if it is an address, one of IPv4 in the usual form.
func plainName(host string) bool {
	if !nameChars.MatchString(host) {
		return false
	}
	if strings.Trim(host, "0123456789.") != "" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.String() == host
}

// pattern is one of a Host line. Most are names, and a thousand of them are held against a
// thousand hosts.
type pattern struct {
	name string
	wild *regexp.Regexp // nil: only the name
}

func newPattern(p string) pattern {
	if !strings.ContainsAny(p, "*?") {
		return pattern{name: p}
	}
	text := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p))
	return pattern{wild: regexp.MustCompile("(?i)^" + text + "$")}
}

func (p pattern) matches(host string) bool {
	if p.wild == nil {
		return strings.EqualFold(p.name, host)
	}
	return p.wild.MatchString(host)
}

func matchesAny(ps []pattern, host string) bool {
	return slices.ContainsFunc(ps, func(p pattern) bool { return p.matches(host) })
}

// hostBlock is what follows a Host line, or what stands before the first, for all hosts.
type hostBlock struct {
	is, not []pattern
	lines   []string
	names   []string // for each line its plain HostName, "" if it is another line
}

// holds reports whether a block is for a host.
func (b *hostBlock) holds(host string) bool {
	return matchesAny(b.is, host) && !matchesAny(b.not, host)
}

// named reports whether a line of ssh_config says something of a host in particular. Of
// any, where that cannot be known from here.
func (r *configReader) named(host string) bool {
	return r.unknown || matchesAny(r.patterns, host)
}

// signature returns all that ssh_config says of a host but its HostName, and that. Of two
// hosts with the same, ssh tells the same, but for what it makes of their names. Not ok:
// this is not known from here.
func (r *configReader) signature(host string) (sig, hostname string, ok bool) {
	if r.unknown || r.unsure {
		return "", "", false
	}
	var s strings.Builder
	found := false
	for _, b := range r.blocks {
		if !b.holds(host) {
			continue
		}
		for i, line := range b.lines {
			if b.names[i] != "" {
				line = "hostname"
			}
			if !found && hostNameLine(line) { // the first value counts
				hostname, found = b.names[i], true
			}
			s.WriteString(line)
			s.WriteByte('\n')
		}
	}
	if hostname == "" { // none, or one that ssh makes
		hostname = host
	}
	return s.String(), hostname, true
}

func hostNameLine(line string) bool {
	key, _ := keyAndRest(line)
	return key == "hostname"
}

// keyAndRest takes a line of ssh_config apart.
func keyAndRest(line string) (key, rest string) {
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	return strings.ToLower(line[:i]), strings.TrimLeft(line[i:], " \t=")
}

// readBlocks reads the files that ssh reads, file as in Dialer.SSHConfig.
func readBlocks(file string) *configReader {
	r := &configReader{}
	if u, err := user.Current(); err == nil {
		r.home = u.HomeDir // as ssh, which does not look at $HOME
	} else {
		r.unknown = true
	}
	for _, p := range configFiles(file, r.home) {
		dir := filepath.Join(r.home, ".ssh")
		if p == systemConfig {
			dir = filepath.Dir(p)
		}
		r.read(p, dir, 0)
	}
	return r
}

// configReader collects what ssh_config says of which hosts.
type configReader struct {
	home     string
	patterns []pattern // of Host lines, but *
	blocks   []*hostBlock
	all      bool // the last block is for all hosts, and has no Host line
	unknown  bool // something whose outcome may depend on the host otherwise
	unsure   bool // a block of which it is not known for which hosts it is
}

// maxIncludes is how deep ssh follows Include.
const maxIncludes = 16

// read reads a file, in which a name to include is relative to dir.
func (r *configReader) read(file, dir string, depth int) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) && depth == 0 {
		return
	}
	if err != nil || depth > maxIncludes {
		r.unknown = true
		return
	}
	defer f.Close()
	r.forAll()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, rest := keyAndRest(line)
		if strings.Contains(rest, "%C") && key != "controlpath" {
			r.unknown = true // a hash over the name, which does not show
		}
		switch key {
		case "match", "canonicalizehostname":
			r.unknown = true
		case "host":
			r.hosts(rest)
		case "include":
			r.unsure = r.unsure || !r.all // it holds where its block does
			r.include(rest, dir, depth)
			r.forAll()
		default:
			name := ""
			if key == "hostname" && plainName(rest) {
				name = rest
			}
			b := r.blocks[len(r.blocks)-1]
			b.lines, b.names = append(b.lines, line), append(b.names, name)
		}
	}
	if lines.Err() != nil {
		r.unknown = true
	}
}

// forAll begins a block that holds for all hosts.
func (r *configReader) forAll() {
	r.all = true
	r.blocks = append(r.blocks, &hostBlock{is: []pattern{newPattern("*")}})
}

// hosts takes the patterns of a Host line. One that is negated names a host as well.
func (r *configReader) hosts(rest string) {
	r.all = false
	b := &hostBlock{}
	r.blocks = append(r.blocks, b)
	if strings.ContainsAny(rest, "\"',#\\=") || strings.ToLower(rest) != rest {
		r.unsure = true // how ssh takes that apart is its own affair
	}
	for _, p := range strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune(" \t\"',", c) }) {
		if strings.HasPrefix(p, "#") {
			return
		}
		p, negated := strings.CutPrefix(p, "!")
		hosts := newPattern(p)
		if p != "*" { // that is all hosts alike
			r.patterns = append(r.patterns, hosts)
		}
		if negated {
			b.not = append(b.not, hosts)
		} else {
			b.is = append(b.is, hosts)
		}
	}
}

// include reads the files of an Include line.
func (r *configReader) include(rest, dir string, depth int) {
	if strings.ContainsAny(rest, `"'%$\`) {
		r.unknown = true // quoted, or with something that ssh fills in
		return
	}
	for _, p := range strings.Fields(rest) {
		switch {
		case strings.HasPrefix(p, "#"):
			return
		case strings.HasPrefix(p, "~/"):
			p = filepath.Join(r.home, p[2:])
		case strings.HasPrefix(p, "~"):
			r.unknown = true
			return
		case !filepath.IsAbs(p):
			p = filepath.Join(dir, p)
		}
		files, err := filepath.Glob(p)
		if err != nil {
			r.unknown = true
			return
		}
		for _, f := range files {
			r.read(f, dir, depth+1)
		}
	}
}
