package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory/secret"
)

// app is one run of the program: its streams, the global flags, and the view.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	stop           <-chan struct{}

	inventory string
	limit     []string
	forks     int
	json      bool
	color     string
	verbose   bool
	askBecome bool

	view           view.View
	redactor       *secret.Redactor
	becomePassword secret.Value
}

func (a *app) execute(ctx context.Context, args []string) int {
	a.redactor = secret.NewRedactor()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	// Only an apply has work that must end well; all else stops at once.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Now: Find writes into the commands, which the run is about to use.
	cmd, _, findErr := root.Find(args)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-a.stop:
			if findErr != nil || !graceful(cmd) {
				cancel()
			} else {
				fmt.Fprintln(a.stderr, "vpnpush: interrupted: hosts at work end first; once more to leave at once")
			}
		case <-done:
		}
	}()
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if err == nil || err.Error() == "" {
		return code
	}
	if a.view == nil { // the flags were not understood
		a.makeView()
	}
	a.view.Error(err)
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "vpnpush",
		Short: "Join offices behind NAT to a hub with strongSwan, from one inventory, over SSH",
		Long: `vpnpush reads one inventory of a hub and its sites, shows as diffs what every
host lacks, and pushes it over SSH, all hosts in parallel. A host needs sshd and
a shell, nothing else.

  vpnpush init           write a starter inventory
  vpnpush plan           show what would change
  vpnpush apply          change it`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.makeView(); err != nil {
				return err
			}
			if a.forks < 1 {
				return fmt.Errorf("--forks %d: at least one host must be worked on", a.forks)
			}
			if a.askBecome {
				return a.askBecomePassword()
			}
			return nil
		},
	}
	def := os.Getenv("VPNPUSH_INVENTORY")
	if def == "" {
		def = "vpnpush.toml"
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.inventory, "inventory", "i", def, "the inventory `FILE`; $VPNPUSH_INVENTORY sets the default")
	f.StringSliceVar(&a.limit, "limit", nil, "only these hosts: names or globs, !NAME excludes (`PATTERN,...`)")
	f.IntVar(&a.forks, "forks", 10, "work on `N` hosts at once")
	f.BoolVar(&a.json, "json", false, "print JSON")
	f.StringVar(&a.color, "color", "auto", "auto, always or never (`WHEN`)")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "tell on stderr what is being done")
	f.BoolVarP(&a.askBecome, "ask-become-pass", "K", false, "ask once for the password of sudo")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &hinted{err, fmt.Sprintf("see `%s --help`", cmd.CommandPath())}
	})
	root.AddCommand(a.initCmd(), a.validateCmd(), a.planCmd(), a.applyCmd(), a.doctorCmd(), a.mapCmd(), a.driftCmd(), a.statusCmd(), a.removeCmd(), a.historyCmd(), a.rollbackCmd(), a.renderCmd(), a.versionCmd())
	root.SuggestionsMinimumDistance = 2
	for _, c := range append(root.Commands(), root) {
		c.Args = withHint(c.Args)
	}
	return root
}

// withHint gives an error about arguments its mend.
func withHint(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		return nil
	}
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		var h *hinted
		if err == nil || errors.As(err, &h) {
			return err
		}
		hint := fmt.Sprintf("see `%s --help`", cmd.CommandPath())
		if near := suggestions(cmd, args); len(near) > 0 {
			hint = fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), near[0])
		} else if cmd.HasParent() && strings.HasPrefix(err.Error(), "unknown command") { // cobra.NoArgs
			err = fmt.Errorf("%s takes no arguments, and %q is one", cmd.CommandPath(), args[0])
		}
		return &hinted{err, hint}
	}
}

// suggestions are the subcommands that the first argument may have meant.
func suggestions(cmd *cobra.Command, args []string) []string {
	if len(args) == 0 || !cmd.HasSubCommands() {
		return nil
	}
	return cmd.SuggestionsFor(args[0])
}

// hinted is an error with a mend (transport.Hinter).
type hinted struct {
	error
	hint string
}

func (h *hinted) Hint() string { return h.hint }

// makeView makes the view also when it returns an error, which needs one to be
// shown.
func (a *app) makeView() error {
	var err error
	switch a.color {
	case "auto", "always", "never":
	case "":
		a.color = "auto"
	default:
		err = fmt.Errorf("--color %q: it is auto, always or never", a.color)
		a.color = "auto"
	}
	outTTY, width, height := terminal(a.stdout)
	errTTY, errWidth, errHeight := terminal(a.stderr)
	if !outTTY {
		width, height = errWidth, errHeight
	}
	a.view = view.New(view.Options{
		Out: a.stdout, Err: a.stderr, JSON: a.json, Color: a.color, Verbose: a.verbose,
		OutIsTerminal: outTTY, ErrIsTerminal: errTTY, Width: width, Height: height,
		NoColorEnv: os.Getenv("NO_COLOR") != "", Redact: func(b []byte) []byte { return a.redactor.Redact(b) },
	})
	return err
}

func terminal(w io.Writer) (is bool, width, height int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return true, 80, 24
	}
	return true, width, height
}

// redact adds secrets to what is masked in everything that is printed.
func (a *app) redact(vs ...secret.Value) {
	if !a.becomePassword.IsZero() {
		vs = append(vs, a.becomePassword)
	}
	a.redactor = secret.NewRedactor(vs...)
}

func (a *app) askBecomePassword() error {
	b, err := a.askSecret("sudo password: ")
	var interrupted *codeError
	if errors.As(err, &interrupted) {
		return err
	}
	if err != nil {
		return fmt.Errorf("--ask-become-pass: %w", err)
	}
	a.becomePassword = secret.New(string(b))
	a.redact()
	return nil
}

// passphrase opens an encrypted key file.
func (a *app) passphrase(path string) ([]byte, error) {
	return a.askSecret(fmt.Sprintf("passphrase of %s: ", path))
}

func (a *app) askSecret(prompt string) ([]byte, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, errors.New("there is no terminal to ask on")
	}
	was, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	type answer struct {
		text []byte
		err  error
	}
	c := make(chan answer, 1)
	fmt.Fprint(a.stderr, prompt)
	go func() {
		b, err := term.ReadPassword(int(f.Fd()))
		c <- answer{b, err}
	}()
	defer fmt.Fprintln(a.stderr)
	select {
	case r := <-c:
		return r.text, r.err
	case <-a.stop:
		// the read goes on until the end, and would leave us without an echo
		return nil, errors.Join(&codeError{exitInterrupted, nil}, term.Restore(int(f.Fd()), was))
	}
}

// graceful tells whether a command lets hosts at work end after a Ctrl-C.
func graceful(cmd *cobra.Command) bool {
	switch cmd.Name() {
	case "apply", "remove", "rollback":
		return true
	}
	return false
}

// wholeSeconds reads a flag's duration that a host counts in seconds.
func wholeSeconds(flag string, d, least time.Duration) error {
	if d < least || d%time.Second != 0 {
		return fmt.Errorf("--%s %s: whole seconds, at least %s", flag, d, least)
	}
	return nil
}
