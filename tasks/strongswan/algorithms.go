package strongswan

import "strings"

// algorithms are words of a proposal (IKEv2CipherSuites of strongSwan's documentation),
// and what charon calls them in `ipsec listalgs`. An algorithm that no plugin of a host
// brings is parsed all the same, and fails only when a peer has agreed to it.
var algorithms = map[string]string{
	"aes": "AES_CBC", "aes128": "AES_CBC", "aes192": "AES_CBC", "aes256": "AES_CBC",
	"aes128ctr": "AES_CTR", "aes192ctr": "AES_CTR", "aes256ctr": "AES_CTR",
	"aes128gcm8": "AES_GCM_8", "aes192gcm8": "AES_GCM_8", "aes256gcm8": "AES_GCM_8",
	"aes128gcm12": "AES_GCM_12", "aes192gcm12": "AES_GCM_12", "aes256gcm12": "AES_GCM_12",
	"aes128gcm16": "AES_GCM_16", "aes192gcm16": "AES_GCM_16", "aes256gcm16": "AES_GCM_16",
	"aes128gcm": "AES_GCM_16", "aes192gcm": "AES_GCM_16", "aes256gcm": "AES_GCM_16",
	"aes128ccm8": "AES_CCM_8", "aes192ccm8": "AES_CCM_8", "aes256ccm8": "AES_CCM_8",
	"aes128ccm12": "AES_CCM_12", "aes192ccm12": "AES_CCM_12", "aes256ccm12": "AES_CCM_12",
	"aes128ccm16": "AES_CCM_16", "aes192ccm16": "AES_CCM_16", "aes256ccm16": "AES_CCM_16",
	"chacha20poly1305": "CHACHA20_POLY1305", "3des": "3DES_CBC",
	"camellia": "CAMELLIA_CBC", "camellia128": "CAMELLIA_CBC", "camellia192": "CAMELLIA_CBC", "camellia256": "CAMELLIA_CBC",
	"serpent": "SERPENT_CBC", "serpent128": "SERPENT_CBC", "serpent192": "SERPENT_CBC", "serpent256": "SERPENT_CBC",
	"twofish": "TWOFISH_CBC", "twofish128": "TWOFISH_CBC", "twofish192": "TWOFISH_CBC", "twofish256": "TWOFISH_CBC",
	"sha": "HMAC_SHA1_96", "sha1": "HMAC_SHA1_96", "sha256": "HMAC_SHA2_256_128", "sha2_256": "HMAC_SHA2_256_128",
	"sha384": "HMAC_SHA2_384_192", "sha2_384": "HMAC_SHA2_384_192", "sha512": "HMAC_SHA2_512_256", "sha2_512": "HMAC_SHA2_512_256",
	"aesxcbc": "AES_XCBC_96", "aescmac": "AES_CMAC_96",
	"prfsha1": "PRF_HMAC_SHA1", "prfsha256": "PRF_HMAC_SHA2_256", "prfsha384": "PRF_HMAC_SHA2_384", "prfsha512": "PRF_HMAC_SHA2_512",
	"prfaesxcbc": "PRF_AES128_XCBC", "prfaescmac": "PRF_AES128_CMAC",
	"modp1536": "MODP_1536", "modp2048": "MODP_2048", "modp3072": "MODP_3072", "modp4096": "MODP_4096",
	"modp6144": "MODP_6144", "modp8192": "MODP_8192", "modp1024": "MODP_1024",
	"modp1024s160": "MODP_1024_160", "modp2048s224": "MODP_2048_224", "modp2048s256": "MODP_2048_256",
	"ecp192": "ECP_192", "ecp224": "ECP_224", "ecp256": "ECP_256", "ecp384": "ECP_384", "ecp521": "ECP_521",
	"ecp224bp": "ECP_224_BP", "ecp256bp": "ECP_256_BP", "ecp384bp": "ECP_384_BP", "ecp512bp": "ECP_512_BP",
	"curve25519": "CURVE_25519", "x25519": "CURVE_25519", "curve448": "CURVE_448", "x448": "CURVE_448",
	"mlkem512": "ML_KEM_512", "mlkem768": "ML_KEM_768", "mlkem1024": "ML_KEM_1024",
}

// Algorithms returns the names that charon must know for a proposal of IKE. Words that
// are not known here are left out.
func Algorithms(proposal string) []string {
	var out []string
	for w := range strings.SplitSeq(proposal, "-") {
		// ML-KEM is agreed on in another exchange: "ke1_mlkem768"
		if i := strings.IndexByte(w, '_'); i == 3 && strings.HasPrefix(w, "ke") {
			w = w[i+1:]
		}
		if name := algorithms[w]; name != "" {
			out = append(out, name)
		}
	}
	return out
}
