package view

import (
	"fmt"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
)

// Exporting is what was written to a folder for the devices of users.
type Exporting struct {
	Folder string
	Users  int
	Files  []Exported
}

// Exported is one file in it.
type Exported struct{ User, For, File string }

// Export writes which files were written where, and what is to be done with them.
func (v *View) Export(e Exporting) error {
	if v.o.JSON {
		return v.encode(v.exportDocument(e))
	}
	p := v.page()
	if e.Users == 1 {
		for _, f := range e.Files {
			p.line("  ", plain, oneLine(f.File))
		}
	}
	p.line("", plain, fmt.Sprintf("Wrote %s for %s to %s.", words.Count(len(e.Files), "file"), words.Count(e.Users, "user"), oneLine(e.Folder)))
	p.line("", plain, "In them are the key of all clients and passwords: hand each to its user alone, by a safe way, and delete it here.")
	return v.print(p)
}

// ExportText writes what was asked for on standard output: it is the one result that
// shows secrets.
func (v *View) ExportText(text string) error { return v.result([]byte(text)) }

// Warning shows what does not end a run.
func (v *View) Warning(text string) { v.warn("warning", text) }

// The document of an export.
type (
	exportDocument struct {
		head
		Folder  string         `json:"folder"`
		Files   []jsonExported `json:"files"`
		Summary exportSummary  `json:"summary"`
	}
	jsonExported struct {
		User string `json:"user"`
		For  string `json:"for"`
		File string `json:"file"`
	}
	exportSummary struct {
		Users int `json:"users"`
		Files int `json:"files"`
	}
)

func (v *View) exportDocument(e Exporting) exportDocument {
	d := exportDocument{head: heading("export"), Folder: v.text(e.Folder), Files: []jsonExported{}, Summary: exportSummary{e.Users, len(e.Files)}}
	for _, f := range e.Files {
		d.Files = append(d.Files, jsonExported{v.text(f.User), f.For, v.text(f.File)})
	}
	return d
}
