package secret

import (
	"crypto/rand"
	"math/big"
)

// alphabet has no characters that are mistaken for one another when read from
// a screen (I l 1, O o 0), and none that any configuration file or shell quotes.
const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"

// Generate returns a random secret of n characters, 5.8 bits each.
func Generate(n int) Value {
	b := make([]byte, n)
	size := big.NewInt(int64(len(alphabet)))
	for i := range b {
		// crypto/rand's Reader never returns an error (its documentation).
		k, err := rand.Int(rand.Reader, size)
		if err != nil {
			panic(err)
		}
		b[i] = alphabet[k.Int64()]
	}
	return New(string(b))
}

// GeneratePSK returns a new pre-shared key.
func GeneratePSK() Value { return Generate(40) }

// GeneratePassword returns a new password, which people have to type.
func GeneratePassword() Value { return Generate(20) }
