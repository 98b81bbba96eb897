package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// A secret is shown on a terminal, and one that is kept elsewhere too.
func TestSecretShow(t *testing.T) {
	inv := lockedInventory(t)
	t.Setenv("CANARY_PSK", canary+"-from-env-1")
	text, err := os.ReadFile(inv)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, inv, string(text)+"[sites.kyoto]\nsubnets = [\"192.168.3.0/24\"]\npsk = { env = \"CANARY_PSK\" }\n")
	for word, want := range map[string]string{"kyoto": canary + "-from-env-1", "sites.osaka.psk": canary + "-osaka-psk-1"} {
		keys, stdin, echo := openTerminal(t)
		screen, stdout, _ := openTerminal(t)
		var errs bytes.Buffer
		done := make(chan int, 1)
		go func() {
			done <- run(context.Background(), nil, []string{"-i", inv, "secret", "show", word}, stdin, stdout, &errs)
		}()
		if word != "kyoto" {
			untilAsked(t, echo)
			keys.WriteString(identityPassphrase + "\n")
		}
		if code := <-done; code != exitOK {
			t.Errorf("%s: exit code %d: %s", word, code, errs.String())
			continue
		}
		if got, err := bufio.NewReader(screen).ReadString('\n'); err != nil || strings.TrimSpace(got) != want {
			t.Errorf("%s: on the terminal stands something else (%v)", word, err)
		}
		noCanary(t, word+": stderr", errs.Bytes())
	}
}

// A secret of one's own is asked for twice; nothing of it is shown, and nothing is
// written where the two differ, or somebody leaves.
func TestSecretEditAsks(t *testing.T) {
	inv := lockedInventory(t)
	was, err := os.ReadFile(inv)
	if err != nil {
		t.Fatal(err)
	}
	mine := canary + "-of-my-own"
	// so at a passphrase
	if code, out, errs, _ := answering(t, make(chan struct{}), []string{"^C"}, "-i", inv, "secret", "encrypt", "--all", "--init"); code != exitInterrupted || out != "" || strings.Contains(errs, "vpnpush:") {
		t.Errorf("encrypt: exit code %d: %s%s", code, out, errs)
	}
	for _, tt := range []struct {
		name    string
		answers []string
		code    int
		says    string
	}{
		{"differs", []string{mine, mine + "x"}, exitError, "the two are not the same; nothing was written"},
		{"leaves", []string{mine, "^C"}, exitInterrupted, ""},
		{"nobody to encrypt to", []string{mine, mine}, exitError, "secrets.recipients names nobody to encrypt to"},
	} {
		code, out, errs, echoes := answering(t, make(chan struct{}), tt.answers, "-i", inv, "secret", "edit", "tokyo")
		if code != tt.code || !strings.Contains(errs, tt.says) || !echoes || out != "" {
			t.Errorf("%s: exit code %d, echo %v: %s%s", tt.name, code, echoes, out, errs)
		}
		noCanary(t, tt.name, []byte(errs))
		if is, err := os.ReadFile(inv); err != nil || !bytes.Equal(is, was) {
			t.Errorf("%s: the inventory was written (%v)", tt.name, err)
		}
	}
}
