package sshconn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skeema/knownhosts"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/vpnpush/vpnpush/transport"
)

// knownKeys is what known_hosts files hold.
type knownKeys struct {
	*knownhosts.HostKeyDB
	names       map[string]string // of the files, by the names they were read under
	authorities map[string]bool   // the lines, as where gives them, that begin with @cert-authority
	skipped     []string          // a sentence for each line that cannot be read
}

// readKnown reads known_hosts files. A line that cannot be read is skipped, as ssh does.
func readKnown(files []string) (*knownKeys, error) {
	k := &knownKeys{names: map[string]string{}, authorities: map[string]bool{}}
	lines := make([][][]byte, len(files))
	for i, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read known hosts: %w", err)
		}
		lines[i] = bytes.Split(data, []byte("\n"))
		for n, l := range lines[i] {
			switch marker, _, _ := bytes.Cut(bytes.ReplaceAll(bytes.TrimSpace(l), []byte("\t"), []byte(" ")), []byte(" ")); {
			case string(marker) == "@cert-authority":
				k.authorities[fmt.Sprintf("%s:%d", f, n+1)] = true
			case len(l) >= bufio.MaxScanTokenSize: // more than the library takes
				k.skip(lines[i], f, n+1, "longer than a key can be")
			}
		}
	}
	var err error
	if k.HostKeyDB, err = knownhosts.NewDB(files...); err == nil {
		return k, nil
	}
	return k, k.readCopies(files, lines)
}

// skip takes a line out, and keeps its number for those behind it.
func (k *knownKeys) skip(lines [][]byte, file string, n int, why string) {
	lines[n-1] = nil
	k.skipped = append(k.skipped, fmt.Sprintf("%s:%d: skipped: %s; mend or delete that line", file, n, why))
}

// readCopies reads the lines of files, of which the library takes no bad ones, from copies
// without those.
func (k *knownKeys) readCopies(files []string, lines [][][]byte) error {
	dir, err := os.MkdirTemp("", "vpnpush-")
	if err != nil {
		return fmt.Errorf("read known hosts: %w", err)
	}
	defer os.RemoveAll(dir)
	copies := make([]string, len(files))
	write := func(i int) error { return os.WriteFile(copies[i], bytes.Join(lines[i], []byte("\n")), 0o600) }
	for i, f := range files {
		copies[i] = filepath.Join(dir, strconv.Itoa(i))
		k.names[copies[i]] = f
		if err := write(i); err != nil {
			return fmt.Errorf("read known hosts: %w", err)
		}
	}
	for {
		var bad error
		if k.HostKeyDB, bad = knownhosts.NewDB(copies...); bad == nil {
			return nil
		}
		i, n, why := badLine(bad, copies, lines)
		if n == 0 {
			return transport.WithHint(fmt.Errorf("read known hosts: %w", bad), "mend or delete that line")
		}
		k.skip(lines[i], files[i], n, why)
		if err := write(i); err != nil {
			return fmt.Errorf("read known hosts: %w", err)
		}
	}
}

// badLine returns of which file, by its place, the library cannot read which line, and
// why: it says "knownhosts: FILE:LINE: why". The line is 0 where that cannot be told.
func badLine(err error, files []string, lines [][][]byte) (file, line int, why string) {
	for i, f := range files {
		rest, ok := strings.CutPrefix(err.Error(), "knownhosts: "+f+":")
		if !ok {
			continue
		}
		number, why, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil && n >= 1 && n <= len(lines[i]) && lines[i][n-1] != nil {
			return i, n, why
		}
	}
	return 0, 0, ""
}

// where returns the file and the line of a key, as a person finds it.
func (k *knownKeys) where(key xknownhosts.KnownKey) string {
	file := key.Filename
	if name, ok := k.names[file]; ok {
		file = name
	}
	return fmt.Sprintf("%s:%d", file, key.Line)
}

// another returns the first key that is known to be the host's where err says that the one
// it showed is not; nil where none is known. The library counts the keys of authorities
// too, which are no host's.
func (k *knownKeys) another(err *xknownhosts.KeyError) *xknownhosts.KnownKey {
	for i := range err.Want {
		if !k.authorities[k.where(err.Want[i])] {
			return &err.Want[i]
		}
	}
	return nil
}

// present returns the files that are there.
func present(files []string) ([]string, error) {
	var out []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			out = append(out, f)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read known hosts: %w", err)
		}
	}
	return out, nil
}
