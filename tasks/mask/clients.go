package mask

import "strings"

// Client is an entry of pppd's secrets: who may log in, without what it takes.
type Client struct {
	Line         int // from 1
	Name, Server string
}

// Clients returns the entries of pppd's secrets files (pppd(8), AUTHENTICATION), as pppd
// reads their first two words. A line without a third is no entry.
func Clients(text []byte) []Client {
	var out []Client
	for i, line := range strings.Split(string(text), "\n") {
		words := PPPWords(line, 3)
		if len(words) == 3 {
			out = append(out, Client{Line: i + 1, Name: words[0], Server: words[1]})
		}
	}
	return out
}

// PPPWords returns the first words of a line, n at most, as pppd reads them (options.c,
// getword): a quoted one goes to the next quote, and a backslash takes what follows as it
// is.
func PPPWords(line string, n int) []string {
	var words []string
	for len(words) < n {
		line = strings.TrimLeft(line, " \t\r\v\f")
		if line == "" || line[0] == '#' {
			break
		}
		var b strings.Builder
		quote := byte(0)
		i := 0
		if line[0] == '"' || line[0] == '\'' {
			quote, i = line[0], 1
		}
		for ; i < len(line); i++ {
			c := line[i]
			if c == '\\' && i+1 < len(line) {
				i++
				b.WriteByte(line[i])
				continue
			}
			if quote != 0 && c == quote {
				i++
				break
			}
			if quote == 0 && strings.IndexByte(" \t\r\v\f#", c) >= 0 {
				break
			}
			b.WriteByte(c)
		}
		words, line = append(words, b.String()), line[i:]
	}
	return words
}
