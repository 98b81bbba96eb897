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
// one is asked for that no line can name, for all of them. Where a file has something whose
// outcome may depend on the host in another way, each is asked for itself.

// anyHost stands for every host that ssh_config does not name.
const anyHost = "vpnpush-any-host.invalid"

// optionsAlike returns the options of a host that no line of ssh_config names, from the
// one answer for all of them; not ok means that ssh has to be asked for this one.
func (d *Dialer) optionsAlike(ssh string, t *Target, host string) (opts []option, ok bool) {
	if !plainName(host) || strings.Contains(host, anyHost) {
		return nil, false
	}
	if named := d.named(); named(anyHost) || named(host) {
		return nil, false
	}
	l := shared(d, d.alike, t.User+"\n"+strconv.Itoa(t.Port), func() ([]option, error) {
		opts, err := d.askSSH(ssh, t, anyHost)
		if err != nil {
			return nil, err
		}
		for _, o := range opts {
			if strings.Contains(o.value, anyHost) && o != (option{"host", anyHost}) && o != (option{"hostname", anyHost}) {
				return nil, nil
			}
		}
		return opts, nil
	})
	<-l.done
	if l.err != nil || l.val == nil {
		return nil, false // an error is to be told with the host's own name
	}
	opts = slices.Clone(l.val)
	for i, o := range opts {
		if o.value == anyHost {
			opts[i].value = host
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

// hostPatterns reads the files that ssh reads, file as in Dialer.SSHConfig, and returns what
// reports whether they say something of a host in particular. Of any, where that cannot
// be known from here.
func hostPatterns(file string) func(host string) bool {
	r := &patternReader{}
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
	if r.unknown {
		return func(string) bool { return true }
	}
	return func(host string) bool {
		return slices.ContainsFunc(r.patterns, func(p *regexp.Regexp) bool { return p.MatchString(host) })
	}
}

// patternReader collects the patterns of Host lines.
type patternReader struct {
	home     string
	patterns []*regexp.Regexp
	unknown  bool // something whose outcome may depend on the host otherwise
}

// maxIncludes is how deep ssh follows Include.
const maxIncludes = 16

// read reads a file, in which a name to include is relative to dir.
func (r *patternReader) read(file, dir string, depth int) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) && depth == 0 {
		return
	}
	if err != nil || depth > maxIncludes {
		r.unknown = true
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.IndexAny(line, " \t=")
		if i < 0 {
			continue
		}
		key, rest := strings.ToLower(line[:i]), strings.TrimLeft(line[i:], " \t=")
		if strings.Contains(rest, "%C") && key != "controlpath" {
			r.unknown = true // a hash over the name, which does not show
		}
		switch key {
		case "match", "canonicalizehostname":
			r.unknown = true
		case "host":
			r.hosts(rest)
		case "include":
			r.include(rest, dir, depth)
		}
	}
	if lines.Err() != nil {
		r.unknown = true
	}
}

// hosts takes the patterns of a Host line. One that is negated names a host as well.
func (r *patternReader) hosts(rest string) {
	for _, p := range strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune(" \t\"',", c) }) {
		if p = strings.TrimPrefix(p, "!"); p == "*" {
			continue // all hosts alike
		}
		if strings.HasPrefix(p, "#") {
			return
		}
		text := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p))
		r.patterns = append(r.patterns, regexp.MustCompile("(?i)^"+text+"$"))
	}
}

// include reads the files of an Include line.
func (r *patternReader) include(rest, dir string, depth int) {
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
