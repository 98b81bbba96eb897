package inventory

import (
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// withoutValues returns a syntax error without what the library quotes of the
// text, as that may be part of a secret. Single characters stay, and names of keys
// as far as shownKey shows them.
func withoutValues(msg string) string {
	if rest, ok := strings.CutPrefix(msg, "Key '"); ok {
		i := strings.LastIndex(rest, "'")
		return "key " + shownKey(strings.Split(rest[:i], ".")) + strings.TrimSuffix(rest[i+1:], ".")
	}
	if strings.Contains(msg, "out of range") {
		return "number out of range"
	}
	rest := regexp.MustCompile(`'\\?.'`).ReplaceAllString(msg, "")
	if !strings.ContainsAny(rest, `"'`) {
		return msg
	}
	return regexp.MustCompile(`(?s)["'].*["']`).ReplaceAllString(msg, "(text)")
}

// syntaxMends are what to do about a syntax error, by what it contains; the first
// that fits.
var syntaxMends = [][2]string{
	{"already", "write each key once"},
	{"newline,", "write each key on a line of its own"},
	{"newlines", "close the quote on its line"},
	{"unexpected EOF", "something is not closed, or is cut off: a quote, a bracket, a value"},
	{"array terminator", "put a comma between the elements, and close the bracket"},
	{"inline table", "put a comma between the keys, and close the brace"},
	{"unexpected comma", "write one comma between two elements"},
	{"table", "write [table] on a line of its own"},
	{"expected '.' or '='", "write key = value"},
	{"key separator", "write key = value"},
	{"keys cannot", "write key = value"},
	{"unexpected", "write key = value"},
	{"escape", "write the backslash twice, or the text in single quotes"},
	{"hexadecimal digits", "write the backslash twice, or the text in single quotes"},
	{"UTF-8", "save the file as plain text in UTF-8"},
	{"ontrol character", "save the file as plain text in UTF-8"},
}

func syntaxMend(msg string) string {
	for _, m := range syntaxMends {
		if strings.Contains(msg, m[0]) {
			return m[1]
		}
	}
	return "write text in quotes; else a value is a number, true, false, a list or a table"
}

// shortWord is what a key of an inventory looks like, and a secret hardly: 16
// characters are the least for a pre-shared key.
var shortWord = regexp.MustCompile(`^([a-z][a-z_]{0,14}|l2tp|[0-9]{1,3})$`)

// shownKey returns the path of a key as it may be shown: somebody may have written
// a secret in the place of a key. Names of sites and users are no secrets.
func shownKey(path toml.Key) string {
	parts := slices.Clone(path)
	for i, part := range parts {
		name := i == 1 && parts[0] == "sites" && hostName.pattern.MatchString(part) ||
			i == 2 && parts[0] == "l2tp" && parts[1] == "users" && userName.pattern.MatchString(part)
		if !name && !shortWord.MatchString(part) {
			return strings.Join(append(parts[:i:i], "(hidden)"), ".")
		}
	}
	return strings.Join(parts, ".")
}
