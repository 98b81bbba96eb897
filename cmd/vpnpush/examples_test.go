package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Who copies an example runs its commands unread, in a CI hours later: each is one that
// the program knows, with its flags and as many arguments as it takes.
func TestExamplesOfCommands(t *testing.T) {
	for file, least := range map[string]int{"docs/ci.md": 11, "docs/secrets.md": 2} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			for _, script := range scripts(t, file, block) {
				found += knownCommands(t, file, script)
			}
		}
		if found < least {
			t.Errorf("%s: only %d commands were found", file, found)
		}
	}
}

// The commands of the timer's service and of cron are known too, and those of the docs are
// the ones that are shipped.
func TestExamplesOfPackaging(t *testing.T) {
	doc, err := os.ReadFile("../../docs/cron.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, sign := range map[string]string{"vpnpush-drift.service": "ExecStart=", "examples/vpnpush.cron": "7 * * * * root "} {
		text, err := os.ReadFile(filepath.Join("packaging", file))
		if err != nil {
			t.Fatal(err)
		}
		_, command, _ := strings.Cut(string(text), "\n"+sign)
		command, _, _ = strings.Cut(command, "\n")
		if n := knownCommands(t, file, strings.TrimSuffix(command, " $DRIFT_OPTIONS")); n != 1 {
			t.Errorf("%s: %d commands after %q", file, n, sign)
		}
		if strings.HasSuffix(file, ".cron") && !strings.Contains(string(doc), sign+command+"\n") {
			t.Errorf("docs/cron.md has another command than %s: %s", file, command)
		}
	}
	knownCommands(t, "DRIFT_OPTIONS in docs/cron.md", "vpnpush drift --changed-only --prom x")
}

// Versions of packages sort as the commits do, or an upgrade is none.
func TestPackageVersions(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("SKIPPED: there is no dpkg here")
	}
	last := ""
	for _, described := range []string{"", "1a6fd47", "v1.2.0-rc.1", "v1.2.0-rc.1-4-gabc1234", "v1.2.0", "v1.2.0-3-gabc1234", "v1.2.0-10-g0bc1234", "v1.2.0-10-g0bc1234-dirty", "v1.2.1"} {
		out, err := exec.Command("packaging/version.sh", described, "20260102").Output()
		version := strings.TrimSpace(string(out)) + "-1"
		if err != nil || exec.Command(dpkg, "--validate-version", version).Run() != nil {
			t.Errorf("%q: %q, %v", described, version, err)
		}
		if last != "" && exec.Command(dpkg, "--compare-versions", last, "lt", version).Run() != nil {
			t.Errorf("%s is not older than %s", last, version)
		}
		last = version
	}
}

// scripts returns the shell of the steps in a document of GitHub's or GitLab's CI.
func scripts(t *testing.T, file, doc string) (out []string) {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(doc), &v); err != nil {
		t.Errorf("%s: %v in\n%s", file, err, doc)
	}
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(k, e)
			}
		case []any:
			for _, e := range v {
				walk(key, e)
			}
		case string:
			if slices.Contains([]string{"run", "script", "before_script", "after_script"}, key) {
				out = append(out, v)
			}
		}
	}
	walk("", v)
	return out
}

// knownCommands checks every command of vpnpush in shell, and returns how many those are.
func knownCommands(t *testing.T, where, shell string) (n int) {
	t.Helper()
	for line := range strings.Lines(shell) {
		for _, op := range []string{"&&", "||", "|", ";", ">>", ">"} {
			line = strings.ReplaceAll(line, op, "\n")
		}
		for command := range strings.Lines(line) {
			args := strings.Fields(command)
			if i := slices.IndexFunc(args, func(a string) bool { return filepath.Base(a) == "vpnpush" }); i == 0 {
				n++
				if err := knownCommand(args[1:]); err != nil {
					t.Errorf("%s: %s: %v", where, strings.TrimSpace(command), err)
				}
			}
		}
	}
	return n
}

func knownCommand(args []string) error {
	cmd, rest, err := (&app{}).root().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// The test above would pass if everything were known.
func TestExamplesOfCommandsFindsFaults(t *testing.T) {
	for _, bad := range []string{"plann", "plan --markdwon", "show", "show a b", "apply a b", "drift --timeout soon"} {
		if knownCommand(strings.Fields(bad)) == nil {
			t.Errorf("vpnpush %s is taken for a command", bad)
		}
	}
	for _, doc := range []string{"a:\n  - run: vpnpush x && vpnpush y\n", "a: {script: [vpnpush x, vpnpush y > z]}"} {
		n := 0
		for _, s := range scripts(t, "test", doc) {
			n += strings.Count(s, "vpnpush")
		}
		if n != 2 {
			t.Errorf("%d commands in %s", n, doc)
		}
	}
}
