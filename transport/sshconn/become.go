package sshconn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// rootPath is the PATH of scripts: root's on Debian (login.defs, ENV_SUPATH).
const rootPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what a script may count on; the rest comes from sshd.
const environment = "LC_ALL=C PATH=" + rootPath

// mark is the line on stderr that says that root's shell has started: what
// comes before is sudo's, and without it the exit status is sudo's too.
const mark = "vpnpush: root"

// asks is the line on stderr that says that sudo wants the password. What is
// written to stdin before it is heard could be read by whoever has the host.
const asks = "vpnpush: sudo asks"

// rooted runs the script $1 behind mark.
const rooted = `/usr/bin/env ` + environment + ` /bin/sh -c 'echo "` + mark + `" >&2; exec /bin/sh -c "$1"' sh "$1"`

// plainWrapper makes a script root's by sudo -n.
const plainWrapper = `if [ "$(id -u)" = 0 ]; then exec ` + rooted + `; fi
exec sudo -n -- ` + rooted

// passwordWrapper asks for the password where sudo does, reads it twice from
// stdin, and leaves the rest to the script, whatever sudo wants. The first one is
// tried out on its own: sudo takes further lines of its stdin as further guesses,
// and those would be the script's data. printf is the shell's, so the password is
// in no argument. What sudo says in place of asking ends it: a password is of no
// use then.
const passwordWrapper = `if [ "$(id -u)" = 0 ]; then exec ` + rooted + `; fi
if p=$(LC_ALL=C sudo -n -- /usr/bin/env true </dev/null 2>&1); then exec sudo -n -- ` + rooted + `; fi
case $p in
*password*|*authentication*) ;;
*) printf '%s\n' "$p" >&2; exit 1;;
esac
echo "` + asks + `" >&2
IFS= read -r p
printf '%s\n' "$p" | sudo -k -S -p '' -- /usr/bin/env true || exit 1
unset p
exec sudo -k -S -p '' -- ` + rooted

// become says how a script gets to run as root on a host.
type become struct {
	name     string // the target, in messages
	user     string
	never    bool
	password func() string
}

func newBecome(t *Target) (become, error) {
	b := become{name: t.Name, password: t.BecomePassword}
	switch t.Become {
	case "", "auto":
	case "never":
		b.never = true
	default:
		return b, transport.WithHint(fmt.Errorf("connect to %s: become %q is neither auto nor never", t.Name, t.Become), "set ssh.become to one of them")
	}
	if b.password != nil && strings.ContainsAny(b.password(), "\n\x00") {
		return b, transport.WithHint(fmt.Errorf("connect to %s: the become password holds a line break or a zero byte", t.Name), "sudo reads one line: give ssh.become_password as one")
	}
	return b, nil
}

// direct reports whether the script runs as it is.
func (b *become) direct() bool { return b.never || b.user == "root" }

// argv returns the command for a script.
func (b *become) argv(script string) []string {
	switch {
	case b.direct():
		return []string{"/usr/bin/env", "LC_ALL=C", "PATH=" + rootPath, "/bin/sh", "-c", script}
	case b.password != nil:
		return []string{"/bin/sh", "-c", passwordWrapper, "sh", script}
	}
	return []string{"/bin/sh", "-c", plainWrapper, "sh", script}
}

// maxCommand is the longest command line sshd can give to a shell, which gets
// it as one argument (MAX_ARG_STRLEN less its final zero).
const maxCommand = 128<<10 - 1

// command is argv as one shell command.
func (b *become) command(script string) (string, error) {
	if err := checkScript(script); err != nil {
		return "", transport.Bug(err)
	}
	words := []string{"exec"}
	for _, a := range b.argv(script) {
		words = append(words, transport.Quote(a))
	}
	cmd := strings.Join(words, " ")
	if len(cmd) > maxCommand {
		return "", transport.Bug(fmt.Errorf("script of %d bytes: %d as one shell word, more than the %d that fit", len(script), len(cmd), maxCommand))
	}
	return cmd, nil
}

func checkScript(script string) error {
	if len(script) >= transport.MaxScript {
		return fmt.Errorf("script of %d bytes: must be shorter than %d", len(script), transport.MaxScript)
	}
	if strings.Contains(script, "\x00") {
		return errors.New("script holds a zero byte")
	}
	return nil
}

// outcome tells sudo's failure from the script's. It takes what a command
// that exited with err has printed on stderr and gives what the script has.
func (b *become) outcome(stderr []byte, err error) ([]byte, error) {
	if b.direct() {
		return stderr, err
	}
	said, rest, ok := strings.Cut("\n"+string(stderr), "\n"+mark+"\n")
	if ok {
		return []byte(rest), err
	}
	if err == nil {
		return stderr, transport.WithHint(fmt.Errorf("become root on %s: the shell did not start", b.name), "does sudo on the host run a command at all? `sudo sh -c id` there tells")
	}
	var exit *transport.ExitError
	if !errors.As(err, &exit) {
		return stderr, err
	}
	said = strings.TrimSpace(strings.Replace(said+"\n", "\n"+asks+"\n", "\n", 1))
	if said == "" {
		said = exit.Error()
	}
	err = fmt.Errorf("%w on %s as %s: %s", transport.ErrBecome, b.name, b.user, lastLine(said))
	if b.password != nil {
		return stderr, transport.WithHint(err, "check ssh.become_password of %s, and that %s may run anything by sudo", b.name, b.user)
	}
	return stderr, transport.WithHint(err, "log in as root, or let %s run anything by sudo without a password (%s ALL=(ALL) NOPASSWD: ALL), or set ssh.become_password of %s", b.user, b.user, b.name)
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }
