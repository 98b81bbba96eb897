package main

import (
	"runtime/debug"
	"testing"
)

// However the program was built, its version leads to the commit, if anything
// does.
func TestVersion(t *testing.T) {
	build := func(version string, kv ...string) *debug.BuildInfo {
		bi := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for i := 0; i < len(kv); i += 2 {
			bi.Settings = append(bi.Settings, debug.BuildSetting{Key: kv[i], Value: kv[i+1]})
		}
		return bi
	}
	const rev = "0123456789abcdef0123456789abcdef01234567"
	for _, tt := range []struct {
		name, set string
		bi        *debug.BuildInfo
		want      string
	}{
		{"make", "v1.2.0-3-g0123456-dirty", build("v0.0.0-20260102030405-0123456789ab", "vcs.revision", rev, "vcs.modified", "false"), "v1.2.0-3-g0123456-dirty"},
		{"go build", "", build("v0.0.0-20260102030405-0123456789ab", "vcs.revision", rev, "vcs.modified", "false"), "0123456789ab"},
		{"go build of a changed tree", "", build("v0.0.0-20260102030405-0123456789ab+dirty", "vcs.revision", rev, "vcs.modified", "true"), "0123456789ab+dirty"},
		{"a short revision", "", build("(devel)", "vcs.revision", "42"), "42"},
		{"go install of a module", "", build("v1.2.0"), "v1.2.0"},
		{"a tree without git", "", build("(devel)", "-trimpath", "true"), "devel"},
		{"no version at all", "", build(""), "devel"},
		{"no build info", "", nil, "devel"},
	} {
		if got := versionOf(tt.set, tt.bi); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
