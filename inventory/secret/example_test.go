package secret_test

import (
	"encoding/json"
	"fmt"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// A Value shows itself under no verb and in no encoding, alone or inside of
// something else.
func ExampleValue() {
	site := struct {
		Name string
		PSK  secret.Value
	}{"tokyo", secret.New("correct horse battery staple")}
	fmt.Println(site.PSK)
	fmt.Printf("%+v\n", site)
	fmt.Printf("%q %x\n", site.PSK, site.PSK)
	text, err := json.Marshal(site)
	fmt.Println(string(text), err)
	fmt.Println(len(site.PSK.Reveal()))
	// Output:
	// (secret)
	// {Name:tokyo PSK:(secret)}
	// (secret) (secret)
	// {"Name":"tokyo","PSK":"(secret)"} <nil>
	// 28
}
