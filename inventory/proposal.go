package inventory

import (
	"fmt"
	"regexp"
	"strings"
)

// What strongSwan 5.7 to 6.0 know as proposal keywords
// (proposal_keywords_static.txt), less what no Debian release ships. An
// unknown keyword is an error here because strongSwan only logs it and leaves
// the connection out.
var (
	aeadKeyword  = regexp.MustCompile(`^((aes|camellia)(128|192|256)ccm(8|12|16|64|96|128)?|aes(128|192|256)gcm(8|12|16|64|96|128)?|aes(128|192|256)gmac|chacha20poly1305)$`)
	encKeyword   = regexp.MustCompile(`^(null|3?des|(aes|camellia)(128|192|256)?|(aes|camellia)(128|192|256)ctr|(blowfish|serpent|twofish)(128|192|256)?|cast128)$`)
	integKeyword = regexp.MustCompile(`^(sha|sha1|sha1_160|sha(2_)?(256|384|512)|sha(2_)?256_96|md5|md5_128|aesxcbc|camelliaxcbc|aescmac)$`)
	prfKeyword   = regexp.MustCompile(`^prf(sha1|sha256|sha384|sha512|md5|aesxcbc|camelliaxcbc|aescmac)$`)
	dhKeyword    = regexp.MustCompile(`^(modp(768|1024|1536|2048|3072|4096|6144|8192|1024s160|2048s224|2048s256)|ecp(192|224|256|384|521)|ecp(224|256|384|512)bp|(curve|x)(25519|448)|mlkem(512|768|1024))$`)
	extraKeyword = regexp.MustCompile(`^(ke[1-7]_mlkem(512|768|1024)|(no)?esn|modpnone|none)$`) // what stands beside them

	// Broken, or within reach of one who can pay for it. gmac signs and does
	// not encrypt, as null does.
	weakKeyword = regexp.MustCompile(`^(3?des|null|md5(_128)?|prfmd5|modp768|modp1024(s160)?|ecp192|aes\d+gmac)$`)

	commonKeywords = strings.Fields(`aes128 aes192 aes256 aes128gcm16 aes256gcm16 chacha20poly1305 sha1 sha256 sha384 sha512
		prfsha256 prfsha384 prfsha512 modp2048 modp3072 modp4096 ecp256 ecp384 ecp521 x25519 curve25519 mlkem768`)
)

// checkProposal returns what is wrong with one IKE or ESP proposal, and what
// would mend it. The rules are those of strongSwan's proposal.c. weak has the
// keywords that need allow_weak.
func checkProposal(s string, ike bool) (fault, mend string, weak []string) {
	example := "aes256-sha256"
	if ike {
		example = "aes256-sha256-modp2048"
	}
	write := fmt.Sprintf("write for example %q", example)
	switch {
	case s == "":
		return "is empty", write, nil
	case strings.HasSuffix(s, "!"):
		return `ends with "!"`, `leave the "!" out: vpnpush adds it`, nil
	case strings.HasPrefix(s, "ah-"), strings.HasPrefix(s, "ah="), strings.HasPrefix(s, "ah:"), s == "ah":
		return "asks for AH, which strongSwan cannot combine with ESP", write + ": ESP authenticates as well", nil
	case strings.ContainsAny(s, ", \t"):
		return "holds more than one proposal", "make each a string of its own in the list", nil
	}
	var enc, aead, integ, prf, dh bool
	for _, k := range strings.Split(s, "-") {
		switch {
		case aeadKeyword.MatchString(k):
			aead = true
		case encKeyword.MatchString(k):
			enc = true
		case integKeyword.MatchString(k):
			integ = true
		case prfKeyword.MatchString(k):
			prf = true
		case dhKeyword.MatchString(k):
			dh = true
		case extraKeyword.MatchString(k):
		case k == "":
			return "has an empty part", write, nil
		default:
			mend := write
			if n := nearest(k, commonKeywords); n != "" {
				mend = fmt.Sprintf("did you mean %q?", n)
			}
			return fmt.Sprintf("holds %q, which strongSwan does not know", k), mend, nil
		}
		if weakKeyword.MatchString(k) {
			weak = append(weak, k)
		}
	}
	switch {
	case !enc && !aead:
		return "has no encryption", write, weak
	case enc && aead:
		return "mixes combined-mode (gcm, ccm, chacha20poly1305) and other encryption", "make two proposals of it", weak
	case enc && !integ:
		return "has no integrity algorithm", write, weak
	case ike && !integ && !prf:
		return "has no pseudo-random function", `add one, such as "prfsha256"`, weak
	case ike && !dh:
		return "has no key exchange group", `add one, such as "modp2048"`, weak
	}
	return "", "", weak
}
