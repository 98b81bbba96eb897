package mask

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a file says of connections is found with its lines, however it is laid out; its
// secrets are not among it.
func TestConnections(t *testing.T) {
	got := Connections([]byte(`# connections { no { } }
connections { a {
    version = 2 # x
    remote { id = "@a b" }
  }
  b : base { }
}
secrets { ike-a { secret = hush } }
}
connections {
  c
  {
    children { x { local_ts = 10.0.0.0/8, dynamic } }
`))
	want := []Setting{
		{Path: []string{"a"}, Line: 2}, {Path: []string{"a", "version"}, Value: "2", Line: 3},
		{Path: []string{"a", "remote"}, Line: 4}, {Path: []string{"a", "remote", "id"}, Value: "@a b", Line: 4},
		{Path: []string{"b"}, Line: 6},
		{Path: []string{"c"}, Line: 11}, {Path: []string{"c", "children"}, Line: 13}, {Path: []string{"c", "children", "x"}, Line: 13},
		{Path: []string{"c", "children", "x", "local_ts"}, Value: "10.0.0.0/8, dynamic", Line: 13},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
