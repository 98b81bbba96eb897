package view

import (
	"encoding/json"
	"fmt"
	"time"
)

// With --json a verb writes one document to standard output (docs/output.md).
// Every key is always there, lists are lists, and times are RFC 3339 in UTC, ""
// where there is none. What a document has no place for, hints and warnings of
// hosts among them, goes to standard error.

// head is what every document begins with.
type head struct {
	FormatVersion string `json:"format_version"`
	Command       string `json:"command"`
}

// heading returns the head of a verb's document.
func heading(command string) head { return head{FormatVersion: "1", Command: command} }

// text returns s as a document holds it. Texts are redacted before they are
// encoded: in the encoded text a secret with a quote in it would not be found,
// and a secret that is also a word of the schema would break it.
func (v *View) text(s string) string { return clean(string(v.o.Redact([]byte(clean(s))))) }

// texts returns ss as a document holds them, as a list also where it is nil.
func (v *View) texts(ss []string) []string {
	out := make([]string, len(ss))
	for i, s := range ss {
		out[i] = v.text(s)
	}
	return out
}

// errorText returns a host's error as a document holds it, "" for none. Its hint
// goes to standard error.
func (v *View) errorText(host string, err error) string {
	if err == nil {
		return ""
	}
	if hint := explain(err).hint; hint != "" {
		v.warn("hint", host+": "+hint)
	}
	return v.text(err.Error())
}

// stamp returns a time as a document holds it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// encode writes a document whose texts went through text.
func (v *View) encode(doc any) error {
	v.halt()
	e := json.NewEncoder(v.o.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
