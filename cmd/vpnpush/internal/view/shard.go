package view

import "time"

// Shard is the part of the sites that a run is of. It is in the run's document, so that
// the documents of all shards can be made one, and one that is missing is known.
type Shard struct {
	Inventory   string `json:"inventory"` // its ID
	Version     string `json:"version"`   // of the program
	Begun       string `json:"begun"`     // when the run was, as all times in documents
	Of          int    `json:"of"`
	Numbers     []int  `json:"numbers"` // from 1; of a merged report several
	Sites       int    `json:"sites"`
	AllSites    int    `json:"all_sites"`
	SitesDigest string `json:"sites_digest"` // of the names of all
}

// Sharded tells that the run is of one shard of the sites, and when it was begun.
func (v *View) Sharded(s Shard, begun time.Time) {
	s.Begun = stamp(begun)
	v.shard = &s
}

// Ends tells the exit code of the run, for its document.
func (v *View) Ends(code int) { v.code = code }
