package strongswan

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Word is what charon logs when a tunnel does not come up.
type Word struct {
	Raw  string // as charon has it, without control characters
	Says string // what it means
	Mend string // what to do about it
}

// maxRaw is how much of a line is kept: selectors may be many.
const maxRaw = 160

// Mends that more than one word has.
const (
	mendKeys     = "see that both ends are applied, and have the same psk: vpnpush plan, for both"
	mendNets     = "apply to both ends: the networks of the two do not fit together"
	mendCiphers  = "see that ike and esp of both ends have one in common: vpnpush plan, for both"
	mendSilence  = "see that strongSwan runs at the other end, and that UDP 500 and 4500 pass: vpnpush doctor, for both"
	mendKernel   = "vpnpush doctor tells what the kernel lacks"
	mendRouteOut = "see that this host has a route to the other end: ip route get ADDRESS"
)

// words are the lines of charon's log that tell why a tunnel is not up, the more telling
// of two that one line matches first (strongSwan 5.9 to 6.0: ike_auth.c, child_create.c,
// psk_authenticator.c, task_manager_v2.c, stroke and kernel plugins).
var words = []struct {
	line       *regexp.Regexp
	says, mend string
}{
	{regexp.MustCompile(`received AUTHENTICATION_FAILED notify`), "the other end refuses this end's key or name", mendKeys},
	{regexp.MustCompile(`tried \d+ shared keys? for .*, but MAC mismatched`), "the keys of the two ends differ", mendKeys},
	{regexp.MustCompile(`no shared key found for`), "there is no key for the other end here", mendKeys},
	{regexp.MustCompile(`no matching peer config found`), "no conn here fits what the other end calls itself and offers", mendKeys},
	{regexp.MustCompile(`received TS_UNACCEPTABLE notify`), "the other end accepts none of this end's networks", mendNets},
	{regexp.MustCompile(`traffic selectors .* (un|in)acceptable`), "the other end asks for other networks than this end has", mendNets},
	{regexp.MustCompile(`received NO_PROPOSAL_CHOSEN notify`), "the two ends have no cipher in common", mendCiphers},
	{regexp.MustCompile(`no IKE config found for`), "no conn here has a cipher in common with the other end", mendCiphers},
	{regexp.MustCompile(`received proposals (un|in)acceptable|no acceptable proposal found`), "the two ends have no cipher in common", mendCiphers},
	{regexp.MustCompile(`received [A-Z][A-Z_]+ notify error`), "the other end refuses the tunnel", "look at its log, which says why"},
	{regexp.MustCompile(`unable to install .*(policies|SA)|error installing route`), "the kernel does not take the tunnel", mendKernel},
	{regexp.MustCompile(`error writing to socket`), "this end cannot send to the other", mendRouteOut},
	{regexp.MustCompile(`unable to resolve .*initiate aborted`), "the other end's name has no address here", "see that /etc/resolv.conf names a resolver that answers"},
	{regexp.MustCompile(`giving up after \d+ retransmits|retransmit \d+ of request|peer not responding`), "the other end does not answer", mendSilence},
	{regexp.MustCompile(`received DELETE for `), "the other end has ended it", "look at its log, which says why"},
}

var (
	logLine  = regexp.MustCompile(`^(\d+)\[[A-Z0-9]+\] (.*)$`)
	received = regexp.MustCompile(`^received packet: from`)
)

// Log is what charon has logged, read once for all tunnels that are asked for.
type Log struct {
	lines []logged
	named map[string][]int // the lines that name a conn or a peer, each as in names
}

// logged is a line of the log.
type logged struct {
	text string
	next int  // the next line of the same message, 0 for none
	up   bool // a child SA of some conn is there
	word int  // in words, -1 for none of them
}

// ReadLog reads charon's log.
func ReadLog(log []byte) *Log {
	l := &Log{named: map[string][]int{}}
	at := map[string]int{} // the last line of the message that a thread is at
	for line := range strings.Lines(string(log)) {
		x, thread, i := logged{text: strings.TrimRight(line, "\r\n"), word: -1}, "", len(l.lines)
		if m := logLine.FindStringSubmatch(x.text); m != nil {
			thread, x.text = m[1], m[2]
		}
		x.up = strings.Contains(x.text, " established with SPIs")
		for i, w := range words {
			// a line without a thread may be anybody's: the word must begin it
			if at := w.line.FindStringIndex(x.text); at != nil && (thread != "" || at[0] == 0) {
				x.word = i
				break
			}
		}
		l.lines = append(l.lines, x)
		begins := received.MatchString(x.text) // a message of a peer
		if thread != "" {
			if before, ok := at[thread]; ok && !begins {
				l.lines[before].next = i
			}
			at[thread] = i
		}
		if thread == "" || !begins {
			for _, n := range named(x.text) {
				l.named[n] = append(l.named[n], i)
			}
		}
	}
	return l
}

// named returns what a line of charon's log names, each as in Tunnel.names.
func named(line string) []string {
	var out []string
	for i := range len(line) {
		switch line[i] {
		case '[', '{':
			if at := strings.LastIndexByte(line[:i], ' '); at >= 0 {
				out = append(out, line[at:i+1])
			}
			if end := strings.IndexByte(line[i:], ']'); line[i] == '[' && end > 0 {
				out = append(out, line[i:i+end+1])
			}
		case '\'':
			if end := strings.IndexByte(line[i+1:], '\''); end > 0 {
				out = append(out, line[i:i+end+2])
			}
		}
	}
	return out
}

// LastWord returns the last word of the log on why a tunnel is not up, nil for none.
// Where the host has other peers than the tunnel's, so unless alone is set, a word counts
// only when what charon was at, one message of a peer, names the tunnel or its peer. Where
// the log tells no threads, as charon-systemd's does not, the word itself must.
func (l *Log) LastWord(t Tunnel, alone bool) *Word {
	var about []int // the lines that count
	if alone {
		for i := range l.lines {
			about = append(about, i)
		}
	} else {
		for _, n := range t.names() {
			for _, i := range l.named[n] {
				about = append(about, i)
				for i = l.lines[i].next; i > 0; i = l.lines[i].next {
					about = append(about, i)
				}
			}
		}
		slices.Sort(about)
	}
	last, child := -1, "CHILD_SA "+t.Conn+"{"
	for _, i := range about {
		switch x := l.lines[i]; {
		case x.up && strings.Contains(x.text, child):
			last = -1 // what was said before is over
		case x.word >= 0:
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	w := words[l.lines[last].word]
	return &Word{Raw: Printable(l.lines[last].text), Says: w.says, Mend: w.mend}
}

// LastWordAwk returns a program of awk that reads charon's log on a host with no other
// tunnel than conn, and prints what LastWord finds in it: what it says, charon's own words
// and the mend, with tabs between; nothing for none.
func LastWordAwk(conn string) string {
	var b strings.Builder
	b.WriteString("{ bare = !sub(/^[0-9]+\\[[A-Z0-9]+\\] /, \"\") }\n{ gsub(/[\\001-\\037\\177]/, \"\") }\n")
	fmt.Fprintf(&b, "index($0, \"CHILD_SA %s{\") && / established with SPIs/ { last = \"\"; next }\n", conn)
	for _, w := range words {
		fmt.Fprintf(&b, "match($0, /%s/) && (!bare || RSTART == 1) { last = %s \"\\t\" substr($0, 1, %d) \"\\t\" %s; next }\n", strings.ReplaceAll(w.line.String(), `\d`, "[0-9]"), strconv.Quote(w.says), maxRaw, strconv.Quote(w.mend))
	}
	return b.String() + "END { if (last) print last }"
}

// names returns how a line of charon's log names the tunnel, or its peer by its identity:
// "tokyo[3]", "tokyo{4}", "...203.0.113.51[tokyo]", "'tokyo'".
func (t Tunnel) names() []string {
	if t.PeerID == "" {
		return nil
	}
	return []string{" " + t.Conn + "[", " " + t.Conn + "{", "[" + t.PeerID + "]", "'" + t.PeerID + "'"}
}

// String returns what a word says and how charon has it.
func (w *Word) String() string { return w.Says + " (charon: " + w.Raw + ")" }

// Printable returns a line of charon's log without control characters, and not too long.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxRaw {
		return string(r[:maxRaw]) + "..."
	}
	return s
}
