package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// blocks returns the blocks of a language in docs/scale.md.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "scale.md"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, b := range strings.Split(string(doc), "```"+language+"\n")[1:] {
		text, _, _ := strings.Cut(b, "```")
		out = append(out, text)
	}
	if len(out) == 0 {
		t.Fatalf("there is no %s in docs/scale.md", language)
	}
	return out
}

var shardsOf = regexp.MustCompile(`--shard "?(?:auto|index:\$NOMAD_ALLOC_INDEX|%i)/(\d+)"?`)

// The manifests in docs/scale.md can be read, what Kubernetes refuses together does not
// stand together, and they begin as many shards as they tell the program: with one less,
// a part of the sites would never be looked at.
func TestManifestsInDocs(t *testing.T) {
	type spec struct {
		Schedule    string
		JobTemplate struct {
			Spec struct {
				CompletionMode       string `yaml:"completionMode"`
				Completions          int
				BackoffLimitPerIndex *int `yaml:"backoffLimitPerIndex"`
				PodFailurePolicy     struct {
					Rules []struct {
						Action      string
						OnExitCodes struct{ Values []int } `yaml:"onExitCodes"`
					}
				} `yaml:"podFailurePolicy"`
				Template struct {
					Spec struct {
						RestartPolicy string `yaml:"restartPolicy"`
						Containers    []struct {
							Args         []string
							VolumeMounts []struct{ Name string } `yaml:"volumeMounts"`
						}
						Volumes []struct{ Name string }
					}
				}
			}
		} `yaml:"jobTemplate"`
	}
	indexed := 0
	for _, b := range blocks(t, "yaml") {
		d := yaml.NewDecoder(strings.NewReader(b))
		for {
			var doc struct {
				Kind     string
				Metadata struct{ Name string }
				Spec     spec
			}
			if err := d.Decode(&doc); err != nil {
				if err.Error() != "EOF" {
					t.Fatal(err)
				}
				break
			}
			job, pod := doc.Spec.JobTemplate.Spec, doc.Spec.JobTemplate.Spec.Template.Spec
			if doc.Kind != "CronJob" || doc.Spec.Schedule == "" || len(pod.Containers) != 1 || pod.RestartPolicy != "Never" { // which a podFailurePolicy wants
				t.Fatalf("%s: %+v", doc.Metadata.Name, doc)
			}
			for _, r := range job.PodFailurePolicy.Rules {
				if (r.Action == "FailIndex") != (job.BackoffLimitPerIndex != nil) || fmt.Sprint(r.OnExitCodes.Values) != "[1 2 6]" {
					t.Errorf("%s: %+v", doc.Metadata.Name, r)
				}
			}
			for i, m := range pod.Containers[0].VolumeMounts {
				if len(pod.Volumes) <= i || pod.Volumes[i].Name != m.Name {
					t.Errorf("%s: there is no volume %s", doc.Metadata.Name, m.Name)
				}
			}
			of := shardsOf.FindStringSubmatch(strings.Join(pod.Containers[0].Args, "\n"))
			if (of != nil) != (job.CompletionMode == "Indexed") || of != nil && of[1] != fmt.Sprint(job.Completions) {
				t.Errorf("%s: %d completions, %q", doc.Metadata.Name, job.Completions, of)
			}
			if of != nil {
				indexed++
			}
		}
	}
	if indexed != 1 {
		t.Errorf("%d indexed Jobs", indexed)
	}
	for _, b := range blocks(t, "hcl") {
		count, of := regexp.MustCompile(`count = (\d+)`).FindStringSubmatch(b), shardsOf.FindStringSubmatch(b)
		if count == nil || of == nil || count[1] != of[1] || strings.Count(b, "{") != strings.Count(b, "}") {
			t.Errorf("Nomad: %q, %q", count, of)
		}
	}
}

// systemd takes the units in docs/scale.md as they stand.
func TestUnitsInDocs(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	dir := t.TempDir()
	args := []string{"verify"}
	for i, b := range blocks(t, "ini") {
		b = strings.ReplaceAll(b, "/usr/local/bin/vpnpush", "/bin/true") // which is not installed here
		unit := filepath.Join(dir, "vpnpush-drift@3."+[]string{"service", "timer"}[i])
		writeFile(t, unit, b)
		args = append(args, unit)
	}
	if out, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
