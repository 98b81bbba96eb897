package clients

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// A profile is what Apple's device management describes: the keys of Configuration and
// of com.apple.vpn.managed with VPNType L2TP, each of its type, and nothing else, for a
// device refuses a whole profile that has one wrong.
func TestAppleProfile(t *testing.T) {
	for name, inv := range inventories {
		inv := inv()
		u := inv.L2TP.Users[0]
		got, err := plist(export(t, inv, "apple").Content.Reveal())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		top := got.(map[string]any)
		content := top["PayloadContent"].([]any)[0].(map[string]any)
		ids := []any{top["PayloadUUID"], content["PayloadUUID"]}
		for _, id := range ids {
			if !regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`).MatchString(id.(string)) {
				t.Errorf("%s: %q is no UUID", name, id)
			}
		}
		if ids[0] == ids[1] {
			t.Errorf("%s: two payloads are %s", name, ids[0])
		}
		want := map[string]any{
			"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "vpnpush.acme." + u.Name, "PayloadUUID": ids[0],
			"PayloadDisplayName": "VPN acme", "PayloadDescription": "The VPN connection of " + u.Name + ". It holds the VPN's key and a password.",
			"PayloadContent": []any{map[string]any{
				"PayloadType": "com.apple.vpn.managed", "PayloadVersion": 1, "PayloadIdentifier": "vpnpush.acme." + u.Name + ".vpn", "PayloadUUID": ids[1],
				"PayloadDisplayName": "VPN acme", "UserDefinedName": "VPN acme", "VPNType": "L2TP",
				"PPP":   map[string]any{"CommRemoteAddress": "203.0.113.10", "AuthName": u.Name, "AuthPassword": u.Password.Reveal()},
				"IPSec": map[string]any{"AuthenticationMethod": "SharedSecret", "SharedSecret": []byte(inv.L2TP.PSK.Reveal())},
				"IPv4":  map[string]any{"OverridePrimary": 1},
			}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A profile takes the place of the user's older one, with another password, and of
// nobody else's.
func TestAppleProfileIsTheSame(t *testing.T) {
	inv := split()
	id := func() string {
		s := export(t, inv, "apple").Content.Reveal()
		return regexp.MustCompile(`[0-9A-F]{8}-[0-9A-F-]{27}`).FindString(s)
	}
	was := id()
	inv.L2TP.Users[0].Password, inv.L2TP.PSK = secret.New("another-password"), secret.New("another-key-of-all")
	if id() != was {
		t.Error("a new password is a new profile")
	}
	inv.L2TP.Users[0].Name = "bob"
	if id() == was {
		t.Error("bob has alice's profile")
	}
}

// plist reads a property list strictly: what is not one is an error.
func plist(s string) (any, error) {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != "plist" {
			return nil, fmt.Errorf("<%s> in the place of <plist>", start.Name.Local)
		}
		vs, err := plistValues(d, false)
		if err == nil && len(vs) != 1 {
			err = fmt.Errorf("%d values", len(vs))
		}
		if err != nil {
			return nil, err
		}
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				return vs[0], nil
			}
			if text, ok := tok.(xml.CharData); err != nil || !ok || strings.TrimSpace(string(text)) != "" {
				return nil, fmt.Errorf("after the end: %v %v", tok, err)
			}
		}
	}
}

type plistKey string

// plistValues reads to the end of an element; keys are only in a dict.
func plistValues(d *xml.Decoder, dict bool) ([]any, error) {
	var out []any
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.EndElement:
			return out, nil
		case xml.CharData:
			if strings.TrimSpace(string(tok)) != "" {
				return nil, fmt.Errorf("text %q between values", tok)
			}
		case xml.StartElement:
			v, err := plistValue(d, tok.Name.Local)
			if err != nil {
				return nil, err
			}
			if _, isKey := v.(plistKey); isKey != (dict && len(out)%2 == 0) {
				return nil, fmt.Errorf("<%s> in the wrong place", tok.Name.Local)
			}
			out = append(out, v)
		}
	}
}

func plistValue(d *xml.Decoder, kind string) (any, error) {
	switch kind {
	case "dict":
		vs, err := plistValues(d, true)
		if err != nil || len(vs)%2 != 0 {
			return nil, fmt.Errorf("dict of %d: %w", len(vs), err)
		}
		m := map[string]any{}
		for i := 0; i < len(vs); i += 2 {
			k := string(vs[i].(plistKey))
			if _, twice := m[k]; twice {
				return nil, fmt.Errorf("the key %s stands twice", k)
			}
			m[k] = vs[i+1]
		}
		return m, nil
	case "array":
		return plistValues(d, false)
	}
	tok, err := d.Token()
	text, ok := tok.(xml.CharData)
	if err != nil || !ok {
		return nil, fmt.Errorf("<%s>: %v, %w", kind, tok, err)
	}
	s := string(text)
	if _, err := d.Token(); err != nil { // its end
		return nil, err
	}
	switch kind {
	case "key":
		return plistKey(s), nil
	case "string":
		return s, nil
	case "integer":
		return strconv.Atoi(s)
	case "data":
		return base64.StdEncoding.DecodeString(s)
	}
	return nil, fmt.Errorf("<%s> is no value", kind)
}
