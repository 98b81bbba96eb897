package strongswan

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Lines of the SA section of `ipsec statusall`, as stroke_list.c prints them.
var (
	strokeIKE   = regexp.MustCompile(`^\s*(\S+)\[(\d+)\]: (.*)$`)
	strokeChild = regexp.MustCompile(`^\s*(\S+)\{(\d+)\}: (.*)$`)
	strokeSPIs  = regexp.MustCompile(`^IKEv\d SPIs: ([0-9a-f]+)_i\*? ([0-9a-f]+)_r\*?`)
	strokeBytes = regexp.MustCompile(`, (\d+) bytes_i\b.*, (\d+) bytes_o\b`)
	strokeSince = regexp.MustCompile(`^([A-Z_]+)(?: (\d+) (second|minute|hour|day)s? ago)?$`)
)

// ParseStatusAll reads the SAs out of what `ipsec statusall` prints
// (strongSwan 5.9 to 6.0). Children stand below the IKE SA they belong to,
// under their own conn's name.
func ParseStatusAll(b []byte) ([]SA, error) {
	var sas []SA
	in, selectors := false, true
	cut := func() error {
		if selectors {
			return nil
		}
		sa := sas[len(sas)-1]
		c := sa.Children[len(sa.Children)-1]
		return fmt.Errorf("child SA %s{%s}: no selectors", c.Name, c.ID)
	}
	for l := range strings.Lines(string(b)) {
		l = strings.TrimRight(l, "\r\n ")
		switch {
		case strings.HasPrefix(l, "Security Associations ("):
			in = true
			continue
		case !in, strings.TrimSpace(l) == "", l == "  none":
			continue
		}
		if m := strokeIKE.FindStringSubmatch(l); m != nil {
			if err := cut(); err != nil {
				return nil, err
			}
			if n := len(sas); n > 0 && sas[n-1].ID == m[2] && sas[n-1].Conn == m[1] {
				if spi := strokeSPIs.FindStringSubmatch(m[3]); spi != nil {
					sas[n-1].SPIs = spi[1] + "_" + spi[2]
				}
				continue
			}
			sa, err := strokeSA(m[3])
			if err != nil {
				return nil, fmt.Errorf("IKE SA %s[%s]: %w", m[1], m[2], err)
			}
			sa.Conn, sa.ID = m[1], m[2]
			sas = append(sas, sa)
			continue
		}
		m := strokeChild.FindStringSubmatch(l)
		if m == nil {
			return nil, fmt.Errorf("not a line of an SA: %.80q", l)
		}
		if len(sas) == 0 {
			return nil, fmt.Errorf("a child SA without an IKE SA: %.80q", l)
		}
		sa, rest := &sas[len(sas)-1], strings.TrimSpace(m[3])
		if n := len(sa.Children); n == 0 || sa.Children[n-1].ID != m[2] || sa.Children[n-1].Name != m[1] {
			if err := cut(); err != nil {
				return nil, err
			}
			part := strings.Split(rest, ", ")
			if len(part) < 2 {
				return nil, fmt.Errorf("child SA %s{%s}: %.80q", m[1], m[2], rest)
			}
			sa.Children = append(sa.Children, ChildSA{Name: m[1], ID: m[2], State: part[0], Mode: part[1]})
			selectors = false
			continue
		}
		c := &sa.Children[len(sa.Children)-1]
		if local, remote, ok := strings.Cut(rest, "==="); ok {
			c.LocalTS, c.RemoteTS = strings.Fields(local), strings.Fields(remote)
			selectors = true
		} else if n := strokeBytes.FindStringSubmatch(rest); n != nil {
			c.BytesIn, _ = strconv.ParseUint(n[1], 10, 64)
			c.BytesOut, _ = strconv.ParseUint(n[2], 10, 64)
		}
	}
	if !in {
		return nil, errors.New("no Security Associations in it")
	}
	return sas, cut()
}

// strokeSA reads the first line of an IKE SA:
// "ESTABLISHED 6 seconds ago, 203.0.113.10[hub]...203.0.113.51[site1]".
func strokeSA(s string) (SA, error) {
	state, ends, _ := strings.Cut(s, ", ")
	local, remote, ok := strings.Cut(ends, "]...") // an id may hold commas, brackets and dots
	m := strokeSince.FindStringSubmatch(state)
	if m == nil || !ok {
		return SA{}, fmt.Errorf("%.80q", s)
	}
	sa := SA{State: m[1]}
	if m[2] != "" {
		n, _ := strconv.Atoi(m[2])
		sa.Age = time.Duration(n) * map[string]time.Duration{
			"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
		}[m[3]]
	}
	sa.LocalAddr, sa.LocalID, _ = strings.Cut(local, "[")
	sa.RemoteAddr, sa.RemoteID, _ = strings.Cut(strings.TrimSuffix(remote, "]"), "[")
	return sa, nil
}

var strokeConn = regexp.MustCompile(`^\s*(\S+):  `)

// ParseStatusConns reads the section "Connections:" of `ipsec statusall`. A
// conn that differs from another only in its selectors shares that one's
// lines, and is named on its "child:" line only.
func ParseStatusConns(b []byte) ([]string, error) {
	var names []string
	in, ended := false, false
	for l := range strings.Lines(string(b)) {
		l = strings.TrimRight(l, "\r\n")
		switch {
		case l == "Connections:":
			in = true
		case l != "" && l[0] != ' ' && strings.HasSuffix(l, ":"):
			// "Connections:" is followed by routed and shunted ones, whose lines
			// tell their state and not what was loaded; a long name, too, begins
			// at the margin but goes on behind the colon
			in = false
			ended = ended || strings.HasPrefix(l, "Security Associations (")
		case in:
			if m := strokeConn.FindStringSubmatch(l); m != nil {
				names = append(names, m[1])
			}
		}
	}
	if !ended {
		return nil, errors.New("no Security Associations in it")
	}
	return names, nil
}
