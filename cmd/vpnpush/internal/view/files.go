package view

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
)

// Build is what the program was built of.
type Build struct{ Version, Go, OS, Arch string }

// Version writes what the program was built of.
func (v *View) Version(b Build) error {
	if v.o.JSON {
		return v.encode(struct {
			head
			Version string `json:"version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
		}{heading("version"), b.Version, b.Go, b.OS, b.Arch})
	}
	p := v.page()
	p.line("", plain, fmt.Sprintf("vpnpush %s %s %s/%s", b.Version, b.Go, b.OS, b.Arch))
	return v.print(p)
}

// Started is a starter inventory that was written.
type Started struct {
	File       string
	Recipients []string // of its secrets; none: they stand there in plain text
	Notes      []string // what is good to know, a line each
}

// Init writes where the starter inventory is.
func (v *View) Init(s Started) error {
	if v.o.JSON {
		return v.encode(struct {
			head
			File       string   `json:"file"`
			Recipients []string `json:"recipients"`
			Notes      []string `json:"notes"`
		}{heading("init"), v.text(s.File), v.texts(s.Recipients), v.texts(s.Notes)})
	}
	p := v.page()
	p.line("", plain, fmt.Sprintf("Wrote %s. Put in your hub's address and your sites, then: vpnpush validate", oneLine(s.File)))
	for _, n := range s.Notes {
		p.line("", plain, oneLine(n))
	}
	return v.print(p)
}

// Rendering is what was written to a folder: each file at HOST/PATH in it.
type Rendering struct {
	Folder string
	Hosts  int
	Files  []Rendered
}

// Rendered is a file as it would land on a host.
type Rendered struct {
	Host, Path string // the path on the host
	Mode       fs.FileMode
}

// Render writes which files were written where.
func (v *View) Render(r Rendering) error {
	if v.o.JSON {
		return v.encode(v.renderDocument(r))
	}
	p := v.page()
	p.line("", plain, fmt.Sprintf("Wrote %s for %s to %s.", words.Count(len(r.Files), "file"), words.Count(r.Hosts, "host"), oneLine(r.Folder)))
	return v.print(p)
}

// The document of a render.
type (
	renderDocument struct {
		head
		Folder  string         `json:"folder"`
		Files   []jsonRendered `json:"files"`
		Summary renderSummary  `json:"summary"`
	}
	jsonRendered struct {
		Host string `json:"host"`
		Path string `json:"path"`
		Mode string `json:"mode"`
	}
	renderSummary struct {
		Hosts int `json:"hosts"`
		Files int `json:"files"`
	}
)

func (v *View) renderDocument(r Rendering) renderDocument {
	d := renderDocument{head: heading("render"), Folder: v.text(r.Folder), Files: []jsonRendered{}, Summary: renderSummary{r.Hosts, len(r.Files)}}
	for _, f := range r.Files {
		d.Files = append(d.Files, jsonRendered{v.text(f.Host), v.text(f.Path), fmt.Sprintf("%04o", f.Mode)})
	}
	return d
}

// Drawing is a picture of the network.
type Drawing struct {
	File    string // "": Bytes go to standard output
	Format  string // "svg", "dot", "mmd"
	Bytes   []byte
	Looked  time.Time // when the tunnels were seen; zero: nobody looked
	LeftOut []string  // the sites that it has no room for
}

// Map writes a picture to standard output, or as JSON where it went.
func (v *View) Map(d Drawing) error {
	switch {
	case v.o.JSON:
		return v.encode(struct {
			head
			File    string   `json:"file"`
			Format  string   `json:"format"`
			Looked  string   `json:"looked"`
			LeftOut []string `json:"left_out"`
		}{heading("map"), v.text(d.File), d.Format, stamp(d.Looked), v.texts(d.LeftOut)})
	case d.File == "":
		return v.result(v.o.Redact(d.Bytes))
	}
	v.halt() // the file says it
	return nil
}

// Manual is the pages of the manual that were written to a folder.
type Manual struct {
	Folder string
	Files  []string
}

// Manual writes which pages were written where.
func (v *View) Manual(m Manual) error {
	if v.o.JSON {
		return v.encode(struct {
			head
			Folder string   `json:"folder"`
			Files  []string `json:"files"`
		}{heading("man"), v.text(m.Folder), v.texts(m.Files)})
	}
	p := v.page()
	p.line("", plain, fmt.Sprintf("Wrote %s to %s.", words.Count(len(m.Files), "page"), oneLine(m.Folder)))
	return v.print(p)
}
