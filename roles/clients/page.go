package clients

import (
	"encoding/base64"
	"fmt"
	"html"
	"html/template"
	"strings"
)

// page returns one page for the person, in English and Japanese, with the steps for
// each system and the files for it inside. It loads nothing, and its own policy forbids
// it to.
func page(t told) (string, error) {
	tmpl, err := template.New("page.html.tmpl").Funcs(template.FuncMap{
		"t":      bilingual,
		"secret": func(v interface{ Reveal() string }) string { return v.Reveal() },
		"file":   func(form string) (link, error) { return t.link(form) },
		"byHand": func() (string, error) { return windowsByHand(t) },
		"row":    func(v any, en, ja string) field { return field{en, ja, fmt.Sprint(v)} },
		"list":   func(fs ...field) []field { return fs },
	}).ParseFS(templates, "templates/page.html.tmpl")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, t); err != nil {
		return "", err
	}
	return b.String(), nil
}

// field is a line of a form, as the system names it, and what goes into it. An empty
// value is a switch that is on.
type field struct{ En, Ja, Value string }

// link is a file that is inside of the page.
type link struct {
	Name string
	URL  template.URL
}

func (t told) link(name string) (link, error) {
	for _, f := range files {
		if f.name == name {
			content, err := f.make(t)
			return link{fileName(t.User, f.suffix), template.URL("data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString([]byte(content)))}, err
		}
	}
	return link{}, fmt.Errorf("no file %q", name)
}

// bilingual returns a text in both languages, of which the page shows one. The texts are
// HTML, what is put into them is not.
func bilingual(en, ja string, a ...any) template.HTML {
	for i, v := range a {
		a[i] = html.EscapeString(fmt.Sprint(v))
	}
	if len(a) > 0 {
		en, ja = fmt.Sprintf(en, a...), fmt.Sprintf(ja, a...)
	}
	return template.HTML(`<span lang="en">` + en + `</span><span lang="ja">` + ja + `</span>`)
}
