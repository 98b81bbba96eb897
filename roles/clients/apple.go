package clients

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"strings"
	"text/template"
)

// apple returns a configuration profile for macOS, iOS and iPadOS
// (com.apple.vpn.managed in Apple's device management). Its identifiers are made of
// the names alone: a profile with a new password takes the place of the one before.
//
// OverridePrimary is always on: a profile cannot say which networks go through an L2TP
// VPN, and without it these systems send there just the network of their own address.
func apple(t told) (string, error) {
	profile := "vpnpush." + t.ID + "." + t.User
	return fill("apple.mobileconfig.tmpl", template.FuncMap{
		"x":       escapeXML,
		"data":    func() string { return base64.StdEncoding.EncodeToString([]byte(t.PSK.Reveal())) },
		"profile": func() string { return profile },
		"uuid":    func(part string) string { return strings.ToUpper(uuid(profile + "/" + part)) },
	}, t)
}

func escapeXML(v any) (string, error) {
	if s, ok := v.(interface{ Reveal() string }); ok {
		v = s.Reveal()
	}
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(fmt.Sprint(v)))
	return b.String(), err
}

// uuid returns a UUID of version 8 (RFC 9562) that is the same for the same name.
func uuid(name string) string {
	b := sha256.Sum256([]byte(name))
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
