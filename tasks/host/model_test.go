package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
)

// model returns a folder with a copy of a model of testdata/model. Where spin or a C
// compiler is not there, the test is skipped.
func model(t *testing.T, name string) string {
	t.Helper()
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("THE MODEL IS NOT CHECKED: %v; testdata/lab/setup.sh installs Debian's packages spin and gcc", err)
		}
	}
	text, err := os.ReadFile("../../testdata/model/" + name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	violated = regexp.MustCompile(`pan:1: (?:assertion violated \(*)?([a-z_ ]+?)\)* \(at depth`)
	states   = regexp.MustCompile(`(?m)^\s*(\d+) states, stored`)
)

// The models of an apply and of a change on both ends hold in every state that they can
// come to, and each of them, broken on purpose, does not: a model that finds nothing proves
// nothing. What is broken is a define of the model; the property is the one that goes.
func TestModel(t *testing.T) {
	for _, m := range []struct {
		name   string
		broken []string // in the order of the defines, what each of them breaks
	}{
		{"apply.pml", []string{
			"NO_BOOT_GUARD reachable", "CONFIRM_WITHOUT_LOCK told_true", "DISARM_BEFORE_RENAME before_or_planned",
			"GUARD_SYNCED_LATE reachable", "CONFIRM_UNSYNCED before_or_planned", "RENAME_UNSEEN told_true",
			"PENDING_BEFORE_TIMER over", "UNDO_NOT_STARTED_AGAIN reachable", "CONFIRM_OF_HALF_A_REVERT before_or_planned",
			"OUTCOME_UNSYNCED told_true", "LEFT_ONCE_CONFIRMED nothing_left", "HISTORY_UNSYNCED nothing_left",
		}},
		{"pair.pml", []string{
			"SITE_CONFIRMED_FIRST ends_fit", "SITE_FORGETS_EARLY ends_fit", "BACK_TO_ONE_KEY ends_fit",
			"STILL_TOLD_AS_IT_ENDED told_true", "HUB_SENDS_ANOTHER ends_fit",
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := model(t, m.name)
			run := func(env string, argv ...string) string {
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), env)
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if err != nil && (!errors.As(err, &exit) || argv[0] != "./pan") {
					t.Fatalf("%s: %v\n%s", argv[0], err, out)
				}
				return string(out)
			}
			defines := regexp.MustCompile(`(?m)^#define ([A-Z_]+) (\d+)$`)
			text := run("", "cat", m.name)
			_, text, _ = strings.Cut(text, "broken on purpose")
			text, _, _ = strings.Cut(text, "#ifndef BROKEN")
			var known []string
			for _, d := range defines.FindAllStringSubmatch(text, -1) {
				known = append(known, d[1])
			}
			run("", "spin", "-DEACH", "-a", m.name)
			run("", "gcc", "-w", "-DSAFETY", "-DNOFAIR", "-DVECTORSZ=2048", "-o", "pan", "pan.c")
			out := run("BROKEN=0", "./pan", "-m100000", "-w22")
			n := states.FindStringSubmatch(out)
			if !strings.Contains(out, "errors: 0") || strings.Contains(out, "Search not completed") || n == nil {
				t.Fatalf("the model does not hold:\n%s", out)
			}
			t.Logf("%s: %s states, and it holds in all of them", m.name, n[1])
			if len(known) != len(m.broken) {
				t.Errorf("the model can be broken by %v, and %d of them are tried", known, len(m.broken))
			}
			for i, want := range m.broken {
				what, property, _ := strings.Cut(want, " ")
				out := run(fmt.Sprintf("BROKEN=%d", i+1), "./pan", "-m100000", "-w20")
				found := violated.FindStringSubmatch(out)
				if what != known[i] || found == nil || found[1] != property {
					t.Errorf("broken by %s (%s): found %q, want %s\n%s", what, known[i], found, property, out)
					continue
				}
				t.Logf("%s: %s breaks %s", m.name, what, property)
			}
		})
	}
}

// Who a line of a trace is about, by the numbers that the model has for them.
var actors = map[string]string{"1": "run", "2": "undo", "3": "shell", "4": "launch", "5": "follow"}

// The real script does what the model says: it is driven through traces of the model step
// by step, by faults too, and has to be at the step that the model is at, each time; and at
// the end what stands on the host is what the model has there.
func TestScriptFollowsModel(t *testing.T) {
	var mu sync.Mutex
	traces := map[string]string{}
	var sims sync.WaitGroup
	for half := range 2 {
		dir := model(t, "apply.pml") // spin leaves files of its own there
		sims.Go(func() {
			for i := half; i < 34*6; i += 2 {
				luck, seed := i/6, i%6
				cmd := exec.Command("spin", fmt.Sprintf("-n%d", i+1), fmt.Sprintf("-DLUCK=%d", luck), fmt.Sprintf("-DFAULTS=%d", 1+seed%2), "-g", "apply.pml")
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("spin: %v\n%s", err, out)
					return
				}
				var events []string
				for l := range strings.Lines(string(out)) {
					if l = strings.TrimSpace(l); strings.HasPrefix(l, "@ ") {
						events = append(events, l[2:])
					}
				}
				mu.Lock()
				traces[strings.Join(events, "\n")] = string(out)
				mu.Unlock()
			}
		})
	}
	sims.Wait()
	n, steps := 0, map[string]bool{}
	for _, events := range slices.Sorted(maps.Keys(traces)) {
		// the model ends a run at any moment after its last word; the script is gone by then
		if finish, term := strings.Index(events, "1 finish\n"), strings.Index(events, "1 term"); finish >= 0 && term > finish {
			continue
		}
		// those that have nothing new are left out: a step, and what it came after
		news, was := false, ""
		for _, e := range strings.Split(events, "\n") {
			news = news || !steps[was+", "+e]
			steps[was+", "+e] = true
			was = e
		}
		if !news {
			continue
		}
		n++
		t.Run("", func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for _, e := range strings.Split(events, "\n") {
				if err := r.event(e); err != nil {
					t.Fatalf("%s: %v; the trace:\n%s\nthe script said:\n%s", e, err, events, r.said())
				}
			}
			r.compare(traces[events], events)
		})
	}
	t.Logf("%d traces, with %d different pairs of a step or fault and the next", n, len(steps))
	if n < 40 || len(steps) < 120 {
		t.Error("that is too little")
	}
}

// A confirmation that is cut right after what counts in it is ended by who comes next: the
// timer, the boot, or the client that asks. No key stays, and the history tells of the apply.
func TestCutConfirmationIsEnded(t *testing.T) {
	for name, next := range map[string][]string{
		"the timer": {"timer confirm", "undo on"}, "the boot": {"cut", "boot", "boot undo", "undo on"},
		"confirmed again": {"shell confirm", "shell on"}, "put back, too late": {"shell revert", "shell on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for _, e := range append([]string{"4 start", "1 main_run", "run on", "shell confirm", "3 do_lock", "3 mv", "kill shell"}, next...) {
				var err error
				if who, on := strings.CutSuffix(e, " on"); on {
					err = r.on(who)
				} else {
					err = r.event(e)
				}
				if err != nil {
					t.Fatalf("%s: %v\n%s", e, err, r.said())
				}
			}
			for _, p := range []string{r.txn("apply.sh"), r.txn("reserve"), "state/pending", "timers/vpnpush-confirm-" + r.x.ID, "run/vpnpush/start-" + r.x.ID} {
				if r.there(p) {
					t.Errorf("%s is left", p)
				}
			}
			history, _ := os.ReadFile(filepath.Join(r.dir, "state/history"))
			past := ParseHistory(history)
			if len(past) != 1 || past[0].Outcome != OutcomeApplied || r.read("etc/x") != "planned" {
				t.Errorf("the history has %v, and the file is %q\n%s", past, r.read("etc/x"), r.said())
			}
		})
	}
}

// A run that ends before it arms leaves no claim to have begun: it would be there until the
// next boot.
func TestFailedRunLeavesNoClaim(t *testing.T) {
	for name, what := range map[string][]string{"refused": {"1 do_lock fails"}, "stale": {"1 do_lock", "1 preconditions fails"}, "no packages": {"1 do_lock", "1 preconditions", "1 want_packages fails"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for _, e := range append([]string{"4 start", "1 main_run"}, what...) {
				if err := r.event(e); err != nil {
					t.Fatalf("%s: %v\n%s", e, err, r.said())
				}
			}
			if err := r.on("run"); err != nil {
				t.Fatal(err)
			}
			for _, p := range []string{r.txn("apply.sh"), "run/vpnpush/start-" + r.x.ID} {
				if r.there(p) {
					t.Errorf("%s is left", p)
				}
			}
		})
	}
}

// on has an actor go on to its end.
func (r *rig) on(who string) error {
	p := r.procs[who]
	if p == nil {
		return errors.New("it does not run")
	}
	for p.at != "" {
		if _, err := fmt.Fprintln(p.answer, "go"); err != nil {
			return err
		}
		p.wait()
	}
	return nil
}

// rig is a host on which the real apply script runs, a step at a time. systemd is played,
// and so are power cuts.
type rig struct {
	t      *testing.T
	dir    string
	script string
	x      Txn
	procs  map[string]*proc
	timer  string // how systemd-run was called for the timer that fired last
	booted bool
	log    *os.File
}

// proc is a script that runs.
type proc struct {
	cmd    *exec.Cmd
	steps  *bufio.Reader // that it comes to
	at     string        // the step that it waits at, "" once it has ended
	answer *os.File      // what becomes of them
	ended  chan struct{}
}

// hooks are at the head of functions: a step of the model each.
var hooks = map[string]string{
	"lock": "[ \"${held-}\" ] || step do_lock || return 1; held=1", "preconditions": "step preconditions || refuse stale told",
	"want_packages": "step want_packages || return 1", "try": "step try || return 1", "backup_all": "step backup_all || return 1",
	"reserve": "step reserve || return 1", "install_boot_guard": "step install_boot_guard || return 1", "arm": "step arm_$1 || return 1",
	"write": "step write || return 1", "live": "step live || return 1", "services": "step services || return 1", "verify": "step verify || return 1",
	"disarm": "step disarm_$1", "finish": finishHook, "tidy": "step tidy", "put_back": "step put_back || torn=1",
	"undo_files": `[ "$rc" -ne 0 ] || step undo_files`, "undo_live": "step undo_live || { rc=1; return 0; }", "record": "step record", "scraps": "step scraps",
}

const finishHook = `case $1 in applied) step finish || return 1 ;; failed) step finish_failed ;; reverted) step finish_reverted ;; revert-failed) step finish_revert_failed ;; esac`

// stepShell goes before the last line of the script: it tells where it is, and waits for
// what is to become of it.
const stepShell = `
torn=
step() { echo "$1" >&4; read -r become <&3 || exit 99; case $become in go) ;; term) exit 143 ;; *) echo "$1: it fails"; return 1 ;; esac; }
cp() { [ -z "$torn" ] || return 1; command cp "$@"; }
mv() { case $* in *"$txn/confirmed") step mv || return 1 ;; esac; command mv "$@"; }
`

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), procs: map[string]*proc{}}
	undo := []tasks.Step{{Phase: tasks.PhaseServices, Shell: "cp /etc/x /run/vpnpush-loaded"}}
	r.x = Txn{ID: "20260102T030405-abcdef01", By: "me@desk", ConfirmTimeout: time.Minute, Manifest: []byte("{}\n"), Changes: []tasks.Change{
		{Task: "file:/etc/x", Backups: []string{"/etc/x", "/etc/new"}, Do: []tasks.Step{
			{Phase: tasks.PhaseFiles, Shell: "put /etc/x 0600 root:root", Stdin: secret.New("planned\n")},
			{Phase: tasks.PhaseFiles, Shell: "put /etc/new 0600 root:root", Stdin: secret.New("planned\n")}}},
		{Task: "unit:x", Do: []tasks.Step{{Phase: tasks.PhaseServices, Shell: "cp /etc/x /run/vpnpush-loaded"}}, Undo: undo},
	}}
	script, err := r.x.Script()
	if err != nil {
		t.Fatal(err)
	}
	text := script.Reveal()
	for name, hook := range hooks {
		head := regexp.MustCompile(`(?m)^` + name + `\(\) \{`)
		if !head.MatchString(text) {
			t.Fatalf("the script has no function %s", name)
		}
		text = head.ReplaceAllStringFunc(text, func(h string) string { return h + " " + hook + "; " })
	}
	for line, step := range map[string]string{
		`    sync( #.*)?`: "do_sync", `    printf '%s\\n' "\$id" \| put "\$pending" .*`: "do_pending", "    enter write": "enter_write", `    sync -- "\$txn"`: "do_sync",
		`        printf 'reverted.*`: "end_reverted", `        printf 'revert-failed.*`: "end_revert_failed",
	} {
		at := regexp.MustCompile("(?m)^"+line+"$").FindAllStringIndex(text, -1)
		if len(at) == 0 {
			t.Fatalf("the script has no line %s", line)
		}
		for _, i := range slices.Backward(at) {
			// revert has a sync of its own, which belongs to what it records
			if f := text[:i[0]]; step != "do_sync" || strings.LastIndex(f, "\nmain_") > strings.LastIndex(f, "\nrevert() {") {
				text = f + "    step " + step + "\n" + text[i[0]:]
			}
		}
	}
	if os.Getuid() != 0 {
		text = strings.Replace(text, "\nmain \"$@\"\n", "\nchown() { :; }\nmain \"$@\"\n", 1)
	}
	text = strings.Replace(text, "\nmain \"$@\"\n", stepShell+"main \"$@\"\n", 1)
	r.script = r.here(text)
	for _, d := range []string{"bin", "etc/systemd/system", "run", "timers", "state"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.write("etc/x", "before\n")
	r.write("run/vpnpush-loaded", "before\n")
	r.write("boot", "first\n")
	// a timer is a file, and so is a unit that is enabled
	r.write("bin/systemd-run", "#!/bin/sh\nfor a; do case $a in --unit=*) echo \"$*\" >"+r.dir+"/timers/${a#--unit=} ;; esac; done\n")
	r.write("bin/systemctl", `#!/bin/sh
[ "$1" != --quiet ] || shift
case $1 in
is-active) [ -e `+r.dir+`/timers/"${2%.timer}" ] ;;
is-enabled) [ -e `+r.dir+`/enabled ] ;;
enable) : >`+r.dir+`/enabled ;;
stop) rm -f `+r.dir+`/timers/"${2%.timer}" ;;
is-system-running) cat `+r.dir+`/going 2>/dev/null || echo running ;;
daemon-reload) ;;
*) echo "systemctl $*: not known here"; exit 64 ;;
esac
`)
	if r.log, err = os.Create(filepath.Join(r.dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for who := range r.procs {
			r.kill(who)
		}
		r.log.Close()
	})
	return r
}

// here returns shell with the paths of the rig in the place of a host's.
func (r *rig) here(shell string) string {
	return strings.NewReplacer("/var/lib/vpnpush", r.dir+"/state", "/run/vpnpush", r.dir+"/run/vpnpush", "/etc/", r.dir+"/etc/",
		"/proc/sys/kernel/random/boot_id", r.dir+"/boot", "PATH=/usr/local/sbin", "PATH="+r.dir+"/bin:/usr/local/sbin").Replace(shell)
}

func (r *rig) txn(name string) string { return "state/txn/" + r.x.ID + "/" + name }

func (r *rig) write(path, text string) {
	r.t.Helper()
	p := filepath.Join(r.dir, path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) there(path string) bool {
	_, err := os.Lstat(filepath.Join(r.dir, path))
	return err == nil
}

func (r *rig) read(path string) string {
	b, _ := os.ReadFile(filepath.Join(r.dir, path))
	return strings.TrimSpace(string(b))
}

func (r *rig) remove(path string) { os.RemoveAll(filepath.Join(r.dir, path)) }

func (r *rig) said() string { return r.read("log") }

// start runs a script as one of the actors.
func (r *rig) start(who string, argv ...string) error {
	r.kill(who)
	give, answer, err := os.Pipe()
	if err != nil {
		return err
	}
	at, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", argv...)
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{give, tell}, r.log, r.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	give.Close()
	tell.Close()
	if err != nil {
		return err
	}
	p := &proc{cmd: cmd, steps: bufio.NewReader(at), answer: answer, ended: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.ended) }()
	r.procs[who] = p
	p.wait()
	return nil
}

// wait returns once the script is at its next step, or has ended: what it did before is
// done then.
func (p *proc) wait() {
	line, err := p.steps.ReadString('\n')
	if p.at = strings.TrimSpace(line); err != nil {
		p.at = ""
		<-p.ended
	}
}

// kill ends an actor with -9.
func (r *rig) kill(who string) {
	p := r.procs[who]
	if p == nil {
		return
	}
	delete(r.procs, who)
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.answer.Close()
	<-p.ended
}

// step has an actor make the step that it must be at.
func (r *rig) step(who, what, become string) error {
	p := r.procs[who]
	if p == nil {
		return errors.New("it does not run")
	}
	if p.at != what {
		return fmt.Errorf("the script is at %q", p.at)
	}
	_, err := fmt.Fprintln(p.answer, become)
	p.wait()
	return err
}

// event makes a line of a trace happen.
func (r *rig) event(e string) error {
	apply := filepath.Join(r.dir, r.txn("apply.sh"))
	undo := func() error {
		if !r.there(r.txn("apply.sh")) {
			return nil
		}
		return r.start("undo", apply, "undo")
	}
	timer := func(name string) error {
		name = "timers/vpnpush-" + name + "-" + r.x.ID
		if !r.there(name) {
			return errors.New("that timer is not armed")
		}
		r.timer = r.read(name)
		r.remove(name)
		return undo()
	}
	w := strings.Fields(e)
	switch {
	case e == "4 start":
		r.write(r.txn("apply.sh"), r.script)
		r.write("run/vpnpush/start-"+r.x.ID+"/x", "")
		r.remove("run/vpnpush/start-" + r.x.ID + "/x")
	case e == "4 systemd_run fails":
		r.remove(r.txn(""))
	case e == "1 main_run":
		return r.start("run", apply, "run")
	case e == "1 term":
		if r.procs["run"] == nil {
			return errors.New("it does not run")
		}
		if r.procs["run"].at == "" { // it has ended, and the model has not told so yet
			return nil
		}
		return r.step("run", r.procs["run"].at, "term")
	case e == "1 refuse_locked":
		if r.procs["run"] != nil && r.there("state/pending") {
			return nil
		}
		return r.step("run", "do_lock", "go")
	case e == "5 never_started":
		out, err := exec.Command("/bin/sh", "-c", r.here(r.x.Follow())).CombinedOutput()
		if string(out) != "status\tnever-started\n" {
			return fmt.Errorf("%q, %v", out, err)
		}
	case e == "timer guard" || e == "timer confirm":
		return timer(w[1])
	case e == "undo again":
		if !strings.Contains(r.timer, " Restart=on-abnormal ") {
			return fmt.Errorf("systemd does not begin again what it runs by %s", r.timer)
		}
		return undo()
	case e == "boot undo":
		if !r.there("enabled") || !r.there(r.txn("apply.sh")) {
			return errors.New("nothing puts back at this boot")
		}
		return r.start("undo", filepath.Join(r.dir, "state/revert.sh"))
	case e == "2 lock late":
		return r.step("undo", "do_lock", "fail")
	case e == "3 lock_late":
		return r.step("shell", "do_lock", "fail")
	case w[0] == "shell":
		if w[1] == "confirm" {
			return r.start("shell", "-c", r.here(r.x.Confirm()))
		}
		return r.start("shell", "-c", r.here(r.x.Revert("why")))
	case w[0] == "kill":
		r.kill(w[1])
	case e == "reboot":
		r.write("going", "stopping\n")
	case e == "cut":
		for who := range maps.Clone(r.procs) {
			r.kill(who)
		}
	case e == "lost boot_guard":
		r.remove("enabled")
	case e == "lost files":
		r.write("etc/x", "torn\n")
	case e == "lost pending":
		r.remove(r.txn("confirmed"))
		r.write("state/pending", r.x.ID+"\n")
		r.write(r.txn("apply.sh"), r.script)
	case e == "lost line":
		r.remove("state/history")
	case e == "boot":
		r.booted = true
		for who := range maps.Clone(r.procs) {
			r.kill(who)
		}
		r.remove("run/vpnpush")
		r.remove("going")
		r.remove("timers")
		r.write("timers/x", "")
		r.remove("timers/x")
		r.write("boot", r.read("boot")+" again\n")
	case w[0] == "told" || w[0] == "client" || w[0] == "line" || w[0] == "answer" || w[0] == "4":
	case len(w) == 3 && w[2] == "fails":
		return r.step(actors[w[0]], w[1], "fail")
	case len(w) == 2 && actors[w[0]] != "":
		return r.step(actors[w[0]], w[1], "go")
	default:
		return errors.New("a line that the test does not know")
	}
	return nil
}

var global = regexp.MustCompile(`(?m)^\s*(\w+) = (\w+)$`)

// compare fails the test where the host is not as the model has it at the end.
func (r *rig) compare(out, events string) {
	r.t.Helper()
	has := map[string]string{}
	for _, m := range global.FindAllStringSubmatch(out, -1) {
		has[m[1]] = m[2]
	}
	for who, p := range r.procs {
		if p.at != "" {
			r.t.Errorf("%s goes on: it is at %s; the trace:\n%s", who, p.at, events)
		}
	}
	if r.booted {
		r.write("run/vpnpush-loaded", r.read("etc/x")+"\n")
	}
	outcome := has["outcome"]
	switch {
	case outcome != "none":
		outcome = strings.ReplaceAll(outcome, "_", "-")
	case has["kept"] == "1":
		outcome = OutcomeConfirmed
	case has["pending"] != "0":
		outcome = OutcomePending
	case has["armed"] == "1":
		outcome = OutcomeUnknown
	default:
		outcome = OutcomeUntouched
	}
	told, err := exec.Command("/bin/sh", "-c", r.here(r.x.Outcome())).Output()
	if err != nil {
		r.t.Error(err)
	}
	word, _, _ := bytes.Cut(bytes.TrimSpace(told), []byte("\t"))
	yes := func(b bool) string { return map[bool]string{true: "1", false: "0"}[b] }
	number := map[string]string{"before": "1", "planned": "2", "torn": "3"}
	want := map[string][2]string{
		"the outcome": {outcome, string(word)},
		"pending":     {has["pending"], yes(r.there("state/pending"))},
		"confirmed":   {has["kept"], yes(r.there(r.txn("confirmed")))},
		"the guard":   {has["guard_timer"], yes(r.there("timers/vpnpush-guard-" + r.x.ID))},
		"the timer":   {has["confirm_timer"], yes(r.there("timers/vpnpush-confirm-" + r.x.ID))},
		"the note":    {has["note"], yes(r.there("state/revert-failed"))},
		"the script":  {has["script"], yes(r.there(r.txn("apply.sh")))},
		"the history": {has["line"], fmt.Sprint(strings.Count(r.read("state/history"), "\t"+r.x.ID+"\tapplied\t"))},
		"the claim":   {yes(has["claimed"] != "0"), yes(r.there("run/vpnpush/start-" + r.x.ID))},
	}
	if has["note"] == "0" {
		want["the file"] = [2]string{has["files"], number[r.read("etc/x")]}
		want["what is loaded"] = [2]string{has["runs"], number[r.read("run/vpnpush-loaded")]}
		want["the new file"] = [2]string{yes(has["files"] == "2"), yes(r.there("etc/new"))}
	}
	for what, w := range want {
		if w[0] != w[1] {
			r.t.Errorf("%s: the model has %s, the host %s; the trace:\n%s\nthe script said:\n%s", what, w[0], w[1], events, r.said())
		}
	}
}
