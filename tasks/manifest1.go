package tasks

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// A manifest of format 1 has the files that are ours, and a digest for each task: no
// line, no unit's files and no conns. They are found again in the files of its time,
// and written down in format 2 by the next apply. What is said here of paths and units
// is what vpnpush had until then, and never changes.

// manifest1 is format 1.
type manifest1 struct {
	Owner      string    `json:"owner"`
	Host       string    `json:"host"`
	Generation int       `json:"generation"`
	Applied    time.Time `json:"applied"`
	By         string    `json:"by"`
	Files      []struct {
		Path   string      `json:"path"`
		SHA256 string      `json:"sha256"`
		Mode   fs.FileMode `json:"mode"`
	} `json:"files"`
	Tasks map[string]string `json:"tasks"` // digests by ID
}

const connDir1 = "/etc/ipsec.d/vpnpush"

// parseManifest1 parses a manifest of format 1. file returns the files of its time; one
// that is not known says nothing.
func parseManifest1(content []byte, file func(string) (FileState, error)) (Manifest, error) {
	var old manifest1
	if err := json.Unmarshal(content, &old); err != nil {
		return Manifest{}, err
	}
	m := Manifest{FormatVersion: manifestFormat, Owner: old.Owner, Host: old.Host, Generation: old.Generation, Applied: old.Applied, By: old.By}
	read := func(p string) []byte {
		s, err := file(p)
		if err != nil {
			return nil
		}
		return s.Content
	}
	// lineOf returns the line of a file that had a digest when it was wanted.
	lineOf := func(p, digest string, digestOf func(line string) string) string {
		for l := range strings.Lines(string(read(p))) {
			if l = strings.TrimRight(l, "\n"); digestOf(l) == digest {
				return l
			}
		}
		return ""
	}
	var sysctlFile string
	var conns []ConnWas
	whole := map[string]bool{}
	for _, f := range old.Files {
		whole["file:"+f.Path] = true
		m.Tasks = append(m.Tasks, Entry{
			ID: "file:" + f.Path, Kind: kindFile, Path: f.Path, SHA256: f.SHA256, Mode: f.Mode,
			Syntax: syntax1(f.Path), Digest: old.Tasks["file:"+f.Path],
		})
		if path.Dir(f.Path) == "/etc/sysctl.d" {
			sysctlFile = f.Path
		}
		if name, ok := strings.CutSuffix(path.Base(f.Path), ".conf"); ok && path.Dir(f.Path) == connDir1 {
			c := ConnWas{Name: name, Conf: f.Path, Secrets: strings.TrimSuffix(f.Path, ".conf") + ".secrets"}
			c.Tunnel, c.Initiates = conn1(name, read(f.Path))
			conns = append(conns, c)
		}
	}
	for _, id := range sortedKeys(old.Tasks) {
		digest := old.Tasks[id]
		prefix, arg, _ := strings.Cut(id, ":")
		e := Entry{ID: id, Kind: prefix, Digest: digest}
		switch prefix {
		case "file":
			if whole[id] {
				continue
			}
			e.Kind, e.Path = kindRules, arg // the one file of which only our part was ours
		case "line":
			e.Path, e.Syntax = arg, syntax1(arg)
			e.Line = lineOf(arg, digest, func(l string) string { return Line{Path: arg, Line: l}.Digest() })
		case "block":
			e.Path, e.Syntax = arg, syntax1(arg)
		case "sysctl":
			e.Key = arg
			l := lineOf(sysctlFile, digest, func(l string) string {
				_, v, _ := strings.Cut(l, "=")
				return Sysctl{Key: arg, Value: strings.TrimSpace(v)}.Digest()
			})
			_, v, _ := strings.Cut(l, "=")
			e.Value = strings.TrimSpace(v)
		case "unit":
			e.Unit = arg
			e.BootOnly = arg == "netfilter-persistent.service"
			e.Shared = arg != "xl2tpd.service"
			if !e.Shared {
				e.Config = []string{"/etc/xl2tpd/xl2tpd.conf"}
			}
		case "ipsec":
			e.Unit, e.Daemon, e.Conns = "strongswan-starter.service", "starter", conns
		case "package", "firewall":
		default:
			return Manifest{}, fmt.Errorf("the task %s is of no kind of format 1", id)
		}
		m.Tasks = append(m.Tasks, e)
	}
	return m, nil
}

// syntax1 returns how to mask a file of which only the path is known.
func syntax1(path string) mask.Syntax {
	switch {
	case strings.HasSuffix(path, ".secrets"):
		return mask.IPsecSecrets
	case strings.HasSuffix(path, "chap-secrets"):
		return mask.ChapSecrets
	case strings.HasPrefix(path, "/etc/ppp/options"):
		return mask.PPPOptions
	}
	return mask.Plain
}

// conn1 returns the tunnel of a conn of ours (ipsec.conf(5)), nil for that of the L2TP
// clients, which has no selectors; and whether it dials.
func conn1(name string, conf []byte) (t *strongswan.Tunnel, initiates bool) {
	v := map[string]string{}
	for l := range strings.Lines(string(conf)) {
		if k, val, ok := strings.Cut(strings.TrimSpace(l), "="); ok {
			v[k] = val
		}
	}
	initiates = v["auto"] == "start"
	if v["leftsubnet"] == "" || v["rightsubnet"] == "" {
		return nil, initiates
	}
	nets := func(k string) []string { return slices.Sorted(slices.Values(strings.Split(v[k], ","))) }
	peer := strings.TrimPrefix(v["rightid"], "@")
	return &strongswan.Tunnel{
		Conn: name, Peer: peer, LocalID: strings.TrimPrefix(v["leftid"], "@"), PeerID: peer,
		Local: nets("leftsubnet"), Remote: nets("rightsubnet"),
	}, initiates
}
