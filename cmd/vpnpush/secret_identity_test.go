package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

const identityPassphrase = canary + "-passphrase"

// lockedInventory writes an inventory with two encrypted secrets, and the identity that
// opens them, which has a passphrase.
func lockedInventory(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	text, to, err := secret.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.NewScryptRecipient(identityPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	var locked bytes.Buffer
	outer := armor.NewWriter(&locked)
	w, err := age.Encrypt(outer, r)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text.Reveal())
	w.Close()
	outer.Close()
	writeFile(t, filepath.Join(dir, "id.txt"), locked.String())
	var psks []any
	for _, s := range []string{canary + "-tokyo-psk-1", canary + "-osaka-psk-1"} {
		sealed, err := secret.Seal(secret.New(s), []secret.Recipient{to})
		if err != nil {
			t.Fatal(err)
		}
		psks = append(psks, sealed)
	}
	path = filepath.Join(dir, "vpnpush.toml")
	writeFile(t, path, fmt.Sprintf("[hub]\naddress = \"203.0.113.10\"\n[sites.tokyo]\nsubnets = [\"192.168.1.0/24\"]\npsk = %q\n"+
		"[sites.osaka]\nsubnets = [\"192.168.2.0/24\"]\npsk = %q\n[secrets]\nidentity = \"id.txt\"\n", psks...))
	return path
}

// answering runs the program on a terminal, and answers what it asks there.
func answering(t *testing.T, stop chan struct{}, answers []string, args ...string) (code int, out, errs string, echoes bool) {
	t.Helper()
	master, tty, echo := openTerminal(t)
	var stdout, stderr bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(context.Background(), stop, args, tty, &stdout, &stderr) }()
	for _, a := range answers {
		untilAsked(t, echo)
		if a == "^C" {
			close(stop)
		} else if _, err := master.WriteString(a + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	code = <-done
	return code, stdout.String(), stderr.String(), echo()
}

// The passphrase of an identity is asked for on the terminal, once for all secrets. It is
// not shown, nor is what it opens.
func TestPassphraseOfIdentity(t *testing.T) {
	inv := lockedInventory(t)
	out := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr, echoes := answering(t, nil, []string{identityPassphrase}, "-i", inv, "render", "--out", out)
	if code != exitOK || strings.Count(stderr, "passphrase of "+filepath.Dir(inv)+"/id.txt: ") != 1 || !echoes {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	noCanary(t, "stdout", []byte(stdout))
	noCanary(t, "stderr", []byte(stderr))
	b, err := os.ReadFile(filepath.Join(out, "osaka/etc/ipsec.d/vpnpush/osaka.secrets"))
	if err != nil || !strings.Contains(string(b), canary+"-osaka-psk-1") {
		t.Errorf("osaka's key is not in what was rendered: %v", err)
	}

	code, _, stderr, echoes = answering(t, nil, []string{"wrong-" + canary}, "-i", inv, "validate")
	if code != exitError || !strings.Contains(stderr, "vpnpush.toml:5: sites.tokyo.psk and 1 more: identity "+filepath.Dir(inv)+"/id.txt: the passphrase is wrong; run it again") || !echoes {
		t.Errorf("wrong: exit code %d: %s", code, stderr)
	}
	noCanary(t, "stderr", []byte(stderr))
}

// Ctrl-C at the passphrase of an identity leaves, and gives the terminal its echo back.
func TestInterruptedIdentity(t *testing.T) {
	inv := lockedInventory(t)
	for _, verb := range []string{"validate", "plan"} {
		code, stdout, stderr, echoes := answering(t, make(chan struct{}), []string{"^C"}, "-i", inv, verb)
		if code != exitInterrupted || !echoes || stdout != "" || strings.Contains(stderr, "vpnpush:") {
			t.Errorf("%s: exit code %d, echo %v: %s%s", verb, code, echoes, stdout, stderr)
		}
	}
}

// Drift asks nothing, on a terminal neither, and says what to do; nor does anything where
// there is no terminal.
func TestIdentityAsksNobody(t *testing.T) {
	inv := lockedInventory(t)
	code, _, stderr, _ := answering(t, nil, nil, "-i", inv, "drift")
	if want := "it has a passphrase, and drift asks no questions; give it one without, in a file or in $VPNPUSH_IDENTITY"; code != exitError || !strings.Contains(stderr, want) {
		t.Errorf("drift: exit code %d: %s", code, stderr)
	}
	for _, verb := range []string{"plan", "drift"} {
		var out, errs bytes.Buffer
		code := run(context.Background(), nil, []string{"-i", inv, verb}, strings.NewReader(""), &out, &errs)
		if want := "id.txt: it has a passphrase, and there is nobody to ask; run it on a terminal, or"; code != exitError || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit code %d: %s", verb, code, errs.String())
		}
	}
}
