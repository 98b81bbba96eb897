package sshconn

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"

	"github.com/vpnpush/vpnpush/transport"
)

// settings is all that is needed to reach one host, ssh_config and inventory
// merged.
type settings struct {
	name     string // in messages
	host     string // HostName
	port     int
	user     string
	alias    string // HostKeyAlias
	keyName  string // set where the host is reached by another way (Way): keyAddr of its own
	network  string // "tcp", "tcp4", "tcp6"
	files    []string
	explicit bool // files were asked for, they are not OpenSSH's defaults
	certs    []string
	only     bool   // IdentitiesOnly
	agent    string // socket; "": none
	known    []string
	global   []string
	accept   bool
	timeout  time.Duration
	jump     []hop
	beyond   string // Target.Beyond
}

// addr is what is dialed.
func (s *settings) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// keyAddr is the name under which known_hosts holds the host. An alias stands
// without a port there, as ssh writes it.
func (s *settings) keyAddr() string {
	if s.keyName != "" {
		return s.keyName
	}
	if s.alias != "" {
		return net.JoinHostPort(s.alias, "22")
	}
	return s.addr()
}

// label names the host in errors: tokyo (192.168.1.10:22).
func (s *settings) label() string {
	if s.name == s.addr() {
		return s.name
	}
	return fmt.Sprintf("%s (%s)", s.name, s.addr())
}

// option is a line of ssh -G: a lower-case key and its value.
type option struct{ key, value string }

// settings resolves h, once per run.
func (d *Dialer) settings(ctx context.Context, h hop) (*settings, error) {
	return shared(d, d.resolved, h.key(), func() (*settings, error) {
		t := h.target
		opts, err := d.options(t)
		if err != nil {
			return nil, err
		}
		s, err := newSettings(t, opts)
		if err != nil {
			return nil, err
		}
		if t.Jump != "" {
			s.jump, err = d.parseJump(t, t.Jump, true)
		} else if pj := last(opts, "proxyjump"); pj != "" && pj != "none" {
			s.jump, err = d.parseJump(t, pj, false)
		} else if pc := last(opts, "proxycommand"); pc != "" && pc != "none" {
			err = transport.WithHint(errors.New("ssh_config sets ProxyCommand, which vpnpush does not run"),
				"set ssh.jump of %s in the inventory (or \"none\"), or ProxyJump in ssh_config", t.Name)
		}
		return s, err
	}).wait(ctx)
}

// configWait is how long ssh may take to tell what its configuration says.
const configWait = 30 * time.Second

// options asks ssh itself what its configuration says, because its parser is
// the only right one; without an ssh they are read here.
func (d *Dialer) options(t *Target) ([]option, error) {
	host := t.Host
	if host == "" {
		host = t.Name
	}
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return readConfig(d.SSHConfig, host, t.User, t.Port)
	}
	if opts, ok := d.optionsAlike(ssh, t, host); ok {
		return opts, nil
	}
	return d.askSSH(ssh, t, host)
}

// askSSH returns what `ssh -G` tells of a host that is reached as t.
func (d *Dialer) askSSH(ssh string, t *Target, host string) ([]option, error) {
	args := []string{"-G"}
	if d.SSHConfig != "" {
		args = append(args, "-F", d.SSHConfig)
	}
	if t.User != "" {
		args = append(args, "-l", t.User)
	}
	if t.Port != 0 {
		args = append(args, "-p", strconv.Itoa(t.Port))
	}
	limited, cancel := context.WithTimeout(context.Background(), d.configWait)
	defer cancel()
	out, said, err := written(exec.CommandContext(limited, ssh, append(args, "--", host)...))
	if err != nil {
		var exit *exec.ExitError
		switch {
		case limited.Err() != nil:
			err = fmt.Errorf("ssh -G: %w: a `Match exec` may hang", timeoutError(d.configWait))
		case errors.As(err, &exit):
			err = errors.New(strings.TrimSpace(string(said)))
		}
		return nil, transport.WithHint(fmt.Errorf("read ssh_config: %w", err), "try it by hand: ssh -G %s", host)
	}
	return parseOptions(out), nil
}

// written returns what a command has written when it ends. It writes to files: a pipe comes
// to its end late on a busy machine, and not at all while something holds it that the
// command has begun, such as a `Match exec`.
func written(cmd *exec.Cmd) (out, said []byte, err error) {
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp("", "vpnpush-ssh-"); err != nil {
			return nil, nil, err
		}
		defer files[i].Close()
		if err := os.Remove(files[i].Name()); err != nil {
			return nil, nil, err
		}
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	err = cmd.Run()
	for i, text := range []*[]byte{&out, &said} {
		if _, at := files[i].Seek(0, io.SeekStart); at != nil {
			return nil, nil, at
		}
		var read error
		if *text, read = io.ReadAll(files[i]); read != nil {
			return nil, nil, read
		}
	}
	return out, said, err
}

// parseOptions reads the output of ssh -G.
func parseOptions(out []byte) []option {
	var opts []option
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key != "" {
			opts = append(opts, option{strings.ToLower(key), strings.TrimSpace(value)})
		}
	}
	return opts
}

// last returns the value of key, "" if there is none.
func last(opts []option, key string) string {
	v := ""
	for _, o := range opts {
		if o.key == key {
			v = o.value
		}
	}
	return v
}

func all(opts []option, key string) []string {
	var vs []string
	for _, o := range opts {
		if o.key == key && o.value != "" && o.value != "none" {
			vs = append(vs, o.value)
		}
	}
	return vs
}

// defaultFiles are the keys that ssh tries when none is named (ssh_config(5),
// IdentityFile).
var defaultFiles = []string{
	"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk",
	"~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk", "~/.ssh/id_xmss", "~/.ssh/id_dsa",
}

// newSettings merges t over opts.
func newSettings(t *Target, opts []option) (*settings, error) {
	s := &settings{
		name:    t.Name,
		host:    last(opts, "hostname"),
		user:    last(opts, "user"),
		alias:   last(opts, "hostkeyalias"),
		network: "tcp",
		only:    last(opts, "identitiesonly") == "yes",
		accept:  t.AcceptNew,
		timeout: t.ConnectTimeout,
		port:    22,
		beyond:  t.Beyond,
	}
	if s.host == "" {
		s.host = t.Host
	}
	if p := last(opts, "port"); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, transport.WithHint(fmt.Errorf("ssh_config: port %q is not one", p), "write a number from 1 to 65535")
		}
		s.port = int(n)
	}
	if t.User != "" {
		s.user = t.User
	}
	if t.Port != 0 {
		s.port = t.Port
	}
	if s.alias == "none" {
		s.alias = ""
	}
	switch last(opts, "addressfamily") {
	case "inet":
		s.network = "tcp4"
	case "inet6":
		s.network = "tcp6"
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
		if n, err := strconv.Atoi(last(opts, "connecttimeout")); err == nil && n > 0 {
			s.timeout = time.Duration(n) * time.Second
		}
	}
	// "no" would take any key; we take only the first one, for any value that
	// takes one unasked.
	switch last(opts, "stricthostkeychecking") {
	case "accept-new", "no", "off", "false":
		s.accept = true
	}

	expand := s.expander(t)
	files := all(opts, "identityfile")
	if t.IdentityFile != "" || !onlyDefaults(files) {
		s.explicit = true
	}
	if t.IdentityFile != "" {
		if onlyDefaults(files) {
			files = nil
		}
		files = append([]string{t.IdentityFile}, files...)
	}
	s.files = expand(files)
	s.certs = expand(all(opts, "certificatefile"))
	if t.KnownHosts != "" {
		s.known = expand([]string{t.KnownHosts})
	} else {
		s.known = expand(strings.Fields(last(opts, "userknownhostsfile")))
	}
	s.global = expand(strings.Fields(last(opts, "globalknownhostsfile")))

	switch a := last(opts, "identityagent"); {
	case a == "none":
	case a == "" || a == "SSH_AUTH_SOCK":
		s.agent = os.Getenv("SSH_AUTH_SOCK")
	case strings.HasPrefix(a, "$"):
		s.agent = os.Getenv(strings.Trim(a, "${}"))
	default:
		s.agent = expand([]string{a})[0]
	}
	return s, nil
}

func onlyDefaults(files []string) bool {
	for _, f := range files {
		found := false
		for _, d := range defaultFiles {
			found = found || f == d
		}
		if !found {
			return false
		}
	}
	// ssh -G lists all of its defaults or none of them.
	return len(files) != 1
}

// expander expands what ssh -G leaves: a leading ~ and the tokens of
// ssh_config(5), TOKENS, that a file name may hold. "none" names drop out.
func (s *settings) expander(t *Target) func([]string) []string {
	home, _ := os.UserHomeDir()
	me, uid := "", strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	long, _ := os.Hostname()
	short, _, _ := strings.Cut(long, ".")
	alias := s.alias
	if alias == "" {
		alias = s.host
	}
	given := t.Host
	if given == "" {
		given = t.Name
	}
	r := strings.NewReplacer("%%", "%", "%d", home, "%h", s.host, "%i", uid, "%k", alias,
		"%L", short, "%l", long, "%n", given, "%p", strconv.Itoa(s.port), "%r", s.user, "%u", me)
	return func(names []string) []string {
		var out []string
		for _, n := range names {
			if n == "none" {
				continue
			}
			if n == "~" || strings.HasPrefix(n, "~/") {
				n = home + n[1:]
			}
			out = append(out, r.Replace(n))
		}
		return out
	}
}

// systemConfig is read after the user's own.
const systemConfig = "/etc/ssh/ssh_config"

// configFiles returns the files that ssh reads with a home folder, if there is one; file is
// as in Dialer.SSHConfig.
func configFiles(file, home string) []string {
	switch {
	case file == "none":
		return nil
	case file != "":
		return []string{file}
	case home == "":
		return []string{systemConfig}
	}
	return []string{filepath.Join(home, ".ssh/config"), systemConfig}
}

// readConfig reads ssh_config without ssh. The library takes a file whole or
// not at all and knows of Match only "all" and one "host"; it would misread a
// Match with more criteria, so that is an error too.
func readConfig(file, host, userName string, port int) ([]option, error) {
	opts := []option{{"hostname", host}}
	home, _ := os.UserHomeDir()
	var configs []*ssh_config.Config
	for _, p := range configFiles(file, home) {
		data, err := os.ReadFile(p)
		if errors.Is(err, os.ErrNotExist) && file == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read ssh_config: %w", err)
		}
		cfg, err := parseConfig(data)
		if err != nil {
			return nil, transport.WithHint(fmt.Errorf("read ssh_config %s: %w", p, err), "install ssh on this machine: vpnpush then reads ssh_config through it")
		}
		configs = append(configs, cfg)
	}
	// The first value counts, and the last one of opts.
	for _, key := range []string{
		"HostName", "User", "Port", "HostKeyAlias", "AddressFamily", "ConnectTimeout", "StrictHostKeyChecking",
		"IdentitiesOnly", "IdentityAgent", "UserKnownHostsFile", "GlobalKnownHostsFile", "ProxyJump", "ProxyCommand",
	} {
		for _, cfg := range configs {
			v, err := cfg.Get(host, key)
			if err != nil {
				return nil, fmt.Errorf("read ssh_config: %s: %w", key, err)
			}
			if v == "" {
				continue
			}
			if key == "HostName" {
				v = strings.NewReplacer("%%", "%", "%h", host).Replace(v)
			}
			opts = append(opts, option{strings.ToLower(key), v})
			break
		}
	}
	for _, key := range []string{"IdentityFile", "CertificateFile"} {
		for _, cfg := range configs {
			vs, err := cfg.GetAll(host, key)
			if err != nil {
				return nil, fmt.Errorf("read ssh_config: %s: %w", key, err)
			}
			for _, v := range vs {
				opts = append(opts, option{strings.ToLower(key), v})
			}
		}
	}
	if len(all(opts, "identityfile")) == 0 {
		for _, f := range defaultFiles {
			opts = append(opts, option{"identityfile", f})
		}
	}
	if last(opts, "userknownhostsfile") == "" {
		opts = append(opts, option{"userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"})
	}
	if last(opts, "globalknownhostsfile") == "" {
		opts = append(opts, option{"globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"})
	}
	if userName == "" && last(opts, "user") == "" {
		if u, err := user.Current(); err == nil {
			opts = append(opts, option{"user", u.Username})
		}
	}
	return opts, nil
}

func parseConfig(data []byte) (*ssh_config.Config, error) {
	sc := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; sc.Scan(); n++ {
		f := strings.Fields(strings.Replace(sc.Text(), "=", " ", 1))
		if len(f) > 3 && strings.EqualFold(f[0], "match") {
			return nil, transport.WithHint(fmt.Errorf("line %d: Match with more than one criterion", n), "install ssh here, whose own reading of the file is used then, or name another file with $VPNPUSH_SSH_CONFIG (none: no file)")
		}
	}
	return ssh_config.DecodeBytes(data)
}
