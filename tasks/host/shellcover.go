//go:build shellcover

package host

import (
	"regexp"
	"strings"
)

func init() { cover = noteFunctions }

// coverFile is where a host has the names of the functions that were entered. It must
// outlast a reboot, which some of them are for.
const coverFile = "/var/tmp/vpnpush-cover"

var (
	functionHead = regexp.MustCompile(`^([a-z_][a-z0-9_]*)\(\) \{`)
	heredocHead  = regexp.MustCompile(`<<'(\w+)'$`)
)

// noteFunctions returns script with a command at the head of each function that appends
// its name to coverFile. The command succeeds and is silent whatever comes of it: a disk
// may be full, and nothing but the figure may differ by it. It starts no process, since
// the tests count those. Here-documents stay as they are: they are files of the host.
func noteFunctions(script string) string {
	var b strings.Builder
	end := "" // of the here-document that we are in
	for line := range strings.Lines(script) {
		text := strings.TrimSuffix(line, "\n")
		switch m := heredocHead.FindStringSubmatch(text); {
		case end != "":
			if text == end {
				end = ""
			}
		case m != nil:
			end = m[1]
		default:
			line = functionHead.ReplaceAllString(line, `${0} { echo ${1} >>`+coverFile+`; } 2>/dev/null || :;`)
		}
		b.WriteString(line)
	}
	return b.String()
}
