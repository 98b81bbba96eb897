package diff_test

import (
	"fmt"

	"github.com/vpnpush/vpnpush/tasks/diff"
)

func ExampleHunks() {
	old := "conn tokyo\n    dpddelay=30s\n    auto=start\n"
	new := "conn tokyo\n    dpddelay=15s\n    auto=start\n"
	for _, h := range diff.Hunks([]byte(old), []byte(new)) {
		fmt.Println(h.Header())
		for _, l := range h.Lines {
			fmt.Printf("%c%s\n", l.Kind, l.Text)
		}
	}
	// Output:
	// @@ -1,3 +1,3 @@
	//  conn tokyo
	// -    dpddelay=30s
	// +    dpddelay=15s
	//      auto=start
}
