package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

// app is one run of the program: its streams, the global flags, and the view.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	stop           <-chan struct{} // closed by a first Ctrl-C
	atOnce         context.Context // ended by a second: hosts at work are left

	inventory string
	limit     []string
	forks     int
	json      bool
	color     string
	verbose   bool
	askBecome bool
	timeout   time.Duration
	forCron   bool // the verb is silent when all is well

	shardText  string
	shard      inventory.Shard // zero: there is none
	quietShard bool            // the report tells which it is, where there is one

	view           *view.View
	redactor       *secret.Redactor
	redacts        []secret.Value // what it masks
	becomePassword secret.Value
	identity       secret.Value // of the environment
	asked          passphrases
}

func (a *app) execute(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	ctx, cancel := a.untilStopped(ctx)
	defer cancel()
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

// untilStopped returns a context that ends with a first Ctrl-C, and keeps the one
// that ends with a second for what must end well.
func (a *app) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	a.atOnce = ctx
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (a *app) root() *cobra.Command {
	var showVersion bool
	root := &cobra.Command{
		Use:   "vpnpush",
		Short: "Join offices behind NAT to a hub with strongSwan, from one inventory, over SSH",
		Long: `vpnpush reads one inventory of a hub and its sites, shows as diffs what would
change on each host, and makes the changes over SSH, all hosts in parallel. A
host needs sshd and a shell, nothing else.

  vpnpush init           write a starter inventory
  vpnpush plan           show what would change
  vpnpush apply          change it`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return a.version(a.view)
			}
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.makeView(); err != nil {
				return err
			}
			if a.forks < 1 {
				return fmt.Errorf("--forks %d: it must be at least 1", a.forks)
			}
			if f := cmd.Flags().Lookup("shard"); f != nil && f.Changed {
				var err error
				if a.shard, err = parseShard(a.shardText, os.Getenv); err != nil {
					return err
				}
			}
			if a.json && strings.HasPrefix(cmd.CommandPath(), "vpnpush completion") {
				return transport.WithHint(errors.New("completion --json: a completion is a script for a shell"), "leave --json out")
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
	f.StringSliceVar(&a.limit, "limit", nil, "only these hosts: names, globs, @GROUP or sites; !NAME excludes (`PATTERN,...`)")
	f.IntVar(&a.forks, "forks", 10, "work on `N` hosts at once")
	f.BoolVar(&a.json, "json", false, "print the result as one JSON document")
	f.StringVar(&a.color, "color", "auto", "use colour: `WHEN` is auto, always or never")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "report on standard error what is being done")
	f.BoolVarP(&a.askBecome, "ask-become-pass", "K", false, "ask once for the password that sudo wants")
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	must(root.RegisterFlagCompletionFunc("limit", a.completeLimit))
	must(root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]cobra.Completion{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)))
	must(root.MarkPersistentFlagFilename("inventory", "toml"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return transport.WithHint(err, "see `%s --help`", cmd.CommandPath())
	})
	root.AddCommand(a.initCmd(), a.adoptCmd(), a.validateCmd(), a.planCmd(), a.showCmd(), a.rehearseCmd(), a.applyCmd(), a.doctorCmd(), a.mapCmd(), a.driftCmd(), a.mergeCmd(), a.statusCmd(), a.removeCmd(), a.historyCmd(), a.rollbackCmd(), a.renderCmd(), a.bundleCmd(), a.inviteCmd(), a.exportCmd(), a.siteCmd(), a.userCmd(), a.secretCmd(), a.versionCmd(), a.manCmd())
	hintArgs(root)
	return root
}

// group returns a command that is there for the verbs below it.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// hintArgs gives the errors of the arguments of cmd, and of all below it, hints.
func hintArgs(cmd *cobra.Command) {
	cmd.Args, cmd.SuggestionsMinimumDistance = withHint(cmd.Args), 2
	for _, c := range cmd.Commands() {
		hintArgs(c)
	}
}

// must panics where a flag that is set up has no such name, which is a bug.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// withHint returns check with a hint for its errors.
func withHint(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		return nil
	}
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		var h transport.Hinter
		if err == nil || errors.As(err, &h) {
			return err
		}
		hint := fmt.Sprintf("see `%s --help`", cmd.CommandPath())
		if strings.HasPrefix(err.Error(), "accepts ") { // cobra.ExactArgs and its kin
			err = miscounted(cmd, args)
		}
		if near := suggestions(cmd, args); len(near) > 0 {
			hint = fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), near[0])
		} else if cmd.HasParent() && !cmd.HasSubCommands() && strings.HasPrefix(err.Error(), "unknown command") { // cobra.NoArgs
			err = fmt.Errorf("%s: unexpected argument %q", cmd.CommandPath(), args[0])
		}
		return transport.WithHint(err, "%s", hint)
	}
}

// miscounted returns an error that names the argument which is missing, or one
// too many.
func miscounted(cmd *cobra.Command, args []string) error {
	wanted := strings.Fields(cmd.Use)[1:]
	if len(args) < len(wanted) {
		return fmt.Errorf("%s: %s is missing", cmd.CommandPath(), wanted[len(args)])
	}
	return fmt.Errorf("%s: unexpected argument %q", cmd.CommandPath(), args[len(wanted)])
}

// suggestions returns the subcommands that the first argument may have meant, one that
// begins as it does first: of few letters, many words are near.
func suggestions(cmd *cobra.Command, args []string) []string {
	if len(args) == 0 || !cmd.HasSubCommands() {
		return nil
	}
	near := cmd.SuggestionsFor(args[0])
	alike := func(s string) bool { return args[0] != "" && strings.HasPrefix(s, args[0][:1]) }
	first := slices.IndexFunc(near, alike)
	if first > 0 {
		near[0], near[first] = near[first], near[0]
	}
	return near
}

// makeView makes the view also when it returns an error, which needs one to be
// shown.
func (a *app) makeView() error {
	var err error
	switch a.color {
	case "auto", "always", "never":
	case "":
		a.color = "auto"
	default:
		err = fmt.Errorf("--color %s: it must be auto, always or never", a.color)
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

// screen reports whether standard output is a terminal, and how high it is now.
func (a *app) screen() (is bool, height int) {
	is, _, height = terminal(a.stdout)
	return is, height
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

// redact makes secrets what is masked in everything that is printed, and the
// password that was asked for. A short one that is also the name of a host or a
// user stays as it is: the mask in its place would tell it.
func (a *app) redact(inv *inventory.Inventory) {
	var vs []secret.Value
	names := []string{os.Getenv("USER"), "root"}
	if inv != nil {
		vs = append(inv.SecretValues(), inv.IdentityValues()...)
		for _, h := range inv.Hosts() {
			names = append(names, h.Name, h.SSH.Host, h.SSH.User)
		}
	}
	if !a.becomePassword.IsZero() {
		vs = append(vs, a.becomePassword)
	}
	vs = slices.DeleteFunc(vs, func(v secret.Value) bool {
		return len(v.Reveal()) < secret.Short && slices.Contains(names, v.Reveal())
	})
	// where no secret was fetched, it is asked for twice
	if !slices.EqualFunc(vs, a.redacts, secret.Value.Equal) {
		a.redactor, a.redacts = secret.NewRedactor(vs...), vs
	}
}

// askBecomePassword asks for what --ask-become-pass promises.
func (a *app) askBecomePassword(ctx context.Context) error {
	b, err := a.askSecret(ctx, "sudo password: ")
	var cut *codeError
	if errors.As(err, &cut) {
		return err
	}
	if err != nil {
		return fmt.Errorf("--ask-become-pass: %w", err)
	}
	a.becomePassword = secret.New(string(b))
	a.redact(nil)
	return nil
}

// keyboard returns the terminal that can be asked on, if there is one.
func (a *app) keyboard() (f *os.File, ok bool) {
	f, ok = a.stdin.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// askSecret asks on the terminal, without an echo, until ctx ends.
func (a *app) askSecret(ctx context.Context, prompt string) ([]byte, error) {
	f, ok := a.keyboard()
	if !ok {
		return nil, transport.WithHint(errors.New("there is no terminal to ask on"), "run it on one; without, load keys into an agent and set ssh.become_password")
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
	defer a.view.Prompt(prompt)()
	go func() {
		b, err := term.ReadPassword(int(f.Fd()))
		c <- answer{b, err}
	}()
	select {
	case r := <-c:
		return r.text, r.err
	case <-ctx.Done():
		// the read goes on until the end, and would leave us without an echo
		return nil, errors.Join(ended(ctx), term.Restore(int(f.Fd()), was))
	}
}
