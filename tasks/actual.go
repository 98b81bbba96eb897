package tasks

import (
	"bytes"

	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// Actual is a Digester that can also say what stands on a host, as the digest
// it would have if that were wanted. Where it equals what was last applied, the
// host is as it was left (DESIGN section 7: A = L).
type Actual interface {
	Digester
	ActualDigest(Facts) (string, error)
}

// ActualDigest implements Actual.
func (t File) ActualDigest(f Facts) (string, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return "", err
	}
	if !s.Exists || s.Owner != "root:root" {
		return digest(t.Path, "not as any apply leaves it"), nil
	}
	return File{Path: t.Path, Mode: s.Mode, Content: s.Content}.Digest(), nil
}

// ActualDigest implements Actual.
func (t Sysctl) ActualDigest(f Facts) (string, error) {
	s, err := f.Sysctl(t.Key)
	return Sysctl{Key: t.Key, Value: s.Value}.Digest(), err
}

// ActualDigest implements Actual: of our part of the file.
func (t Block) ActualDigest(f Facts) (string, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return "", err
	}
	return Block{Path: t.Path, Content: t.find(s.Content)}.Digest(), nil
}

// find gives what stands between our markers.
func (t Block) find(content []byte) []byte {
	_, rest, ok := cutLine(content, BlockBegin(t.Owner))
	if !ok {
		return nil
	}
	block, _, ok := cutLine(rest, BlockEnd)
	if !ok {
		return []byte("it does not end")
	}
	return block
}

// ActualDigest implements Actual.
func (t Firewall) ActualDigest(f Facts) (string, error) {
	live, err := liveRules(f)
	if err != nil {
		return "", err
	}
	return digestChains("", live.Own(t.Chains)), nil
}

// ActualDigest implements Actual.
func (t RulesV4) ActualDigest(f Facts) (string, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return "", err
	}
	file, err := iptables.Parse(s.Content)
	if err != nil {
		return "", err
	}
	return digestChains(t.Path, file.Own(t.Chains)), nil
}

// cutLine cuts content at a line of its own.
func cutLine(content []byte, line string) (before, after []byte, ok bool) {
	at := 0
	for l := range bytes.Lines(content) {
		if string(bytes.TrimSuffix(l, []byte("\n"))) == line {
			return content[:at], content[at+len(l):], true
		}
		at += len(l)
	}
	return content, nil, false
}
