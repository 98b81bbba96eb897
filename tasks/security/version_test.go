package security

import (
	"math/rand/v2"
	"os/exec"
	"testing"
)

// Versions are compared as dpkg compares them: a hole must not be told where it is mended,
// nor the other way round. dpkg itself is asked, about versions of Debian's and others.
func TestCompareAsDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("no dpkg on this machine to compare with")
	}
	versions := []string{
		"5.9.8-5", "5.9.8-5+deb12u5", "5.9.8-5+deb12u6", "5.9.8-5+deb12u10", "5.9.8-5+deb12u6+b1", "5.9.8-5~bpo11+1", "5.9.8-5.1", "5.9.10-1", "5.9.8",
		"6.0.1-6", "6.0.1-6+deb13u7", "6.0.1~rc1-1", "6.0.1~~-1", "1:0.1", "0:6.0.1-6", "2.4.7-2+4.1", "2.4.7-2+4", "2.4.9-1+1.1+b1", "2.5.2-1+1",
		"1.3.18-1", "1.3.18-1+b1", "1.0", "1.00", "1.0-0", "1.a", "1.A", "1.+", "1.~", "1", "1-1-1", "007-1", "7-01", "5.9.8-5+deb12u99999999999999999999",
	}
	const letters = "0019abZ+~.-"
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		v := "1"
		for range r.IntN(7) {
			v += string(letters[r.IntN(len(letters))])
		}
		versions = append(versions, v)
	}
	var pairs [][2]string
	for i := range versions[:33] {
		for j := range versions[:33] {
			if (i*7+j)%5 == 0 || i+1 == j {
				pairs = append(pairs, [2]string{versions[i], versions[j]})
			}
		}
	}
	for i := 33; i+1 < len(versions); i++ {
		pairs = append(pairs, [2]string{versions[i], versions[i+1]}, [2]string{versions[i], versions[i] + "~"}, [2]string{versions[i], versions[i] + "+"})
	}
	compared := 0
	for _, p := range pairs {
		if exec.Command(dpkg, "--validate-version", p[0]).Run() != nil || exec.Command(dpkg, "--validate-version", p[1]).Run() != nil {
			continue // dpkg compares no such versions, and installs none
		}
		compared++
		want := 0
		switch {
		case exec.Command(dpkg, "--compare-versions", p[0], "lt", p[1]).Run() == nil:
			want = -1
		case exec.Command(dpkg, "--compare-versions", p[0], "gt", p[1]).Run() == nil:
			want = 1
		}
		if got, back := Compare(p[0], p[1]), Compare(p[1], p[0]); got != want || back != -want {
			t.Errorf("Compare(%q, %q) = %d and %d the other way round, dpkg says %d", p[0], p[1], got, back, want)
		}
	}
	if compared < 200 {
		t.Errorf("%d pairs were compared", compared)
	}
}

// Whatever a host calls a version, it is compared without a panic, and the same both ways.
func FuzzCompare(f *testing.F) {
	f.Add("5.9.8-5+deb12u6", "6.0.1-6")
	f.Add("1:~", "é-")
	f.Fuzz(func(t *testing.T, a, b string) {
		if Compare(a, b) != -Compare(b, a) || Compare(a, a) != 0 {
			t.Errorf("%q, %q: %d, %d", a, b, Compare(a, b), Compare(b, a))
		}
	})
}
