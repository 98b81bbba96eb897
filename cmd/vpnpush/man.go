package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) manCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man --dir DIR",
		Short: "Write the manual, a page for each command",
		Long: `Man writes the pages of the manual to DIR, such as /usr/local/share/man/man1: one for
each command, made of what its help says. Then ` + "`man vpnpush-plan`" + ` shows one. Pages of
the same name are replaced.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return transport.WithHint(errors.New("man: --dir is missing"), "name a folder with --dir DIR")
			}
			return writeManual(cmd.Root(), dir, a.view)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the folder to write to (`DIR`)")
	must(cmd.MarkFlagDirname("dir"))
	return cmd
}

type manView interface{ Manual(view.Manual) error }

func writeManual(root *cobra.Command, dir string, v manView) error {
	bi, _ := debug.ReadBuildInfo()
	day, err := manualDay(os.Getenv("SOURCE_DATE_EPOCH"), bi)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("man: %w", err)
	}
	m := view.Manual{Folder: dir}
	for _, cmd := range withPages(root) {
		name := pageName(cmd) + ".1"
		if err := renameio.WriteFile(filepath.Join(dir, name), []byte(page(cmd, day, versionOf(version, bi))), 0o644); err != nil {
			return fmt.Errorf("man: %w", err)
		}
		m.Files = append(m.Files, name)
	}
	return v.Manual(m)
}

// manualDay returns the day that pages bear: that of epoch, which makes a build the same
// at any time; else that of the commit; else today.
func manualDay(epoch string, bi *debug.BuildInfo) (string, error) {
	day := time.Now()
	if bi != nil {
		for _, s := range bi.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				day = t
			}
		}
	}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return "", transport.WithHint(fmt.Errorf("man: SOURCE_DATE_EPOCH=%s is no number of seconds", epoch), "set it to what `date +%%s` prints, or not at all")
		}
		day = time.Unix(seconds, 0)
	}
	return day.UTC().Format(time.DateOnly), nil
}

// withPages returns cmd and all commands below it that have a page. What cobra adds for
// each shell is told by its help.
func withPages(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	if cmd.Name() == "completion" {
		return out
	}
	for _, c := range below(cmd) {
		out = append(out, withPages(c)...)
	}
	return out
}

func below(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(c *cobra.Command) bool { return !c.IsAvailableCommand() })
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// reference names a page, as "vpnpush-plan(1)".
func reference(cmd *cobra.Command) string { return bold(pageName(cmd)) + "(1)" }

// page returns a command's page of the manual.
func page(cmd *cobra.Command, day, version string) string {
	var m manual
	m.line(".TH %s 1 %s %q %q", roff(strings.ToUpper(pageName(cmd))), day, "vpnpush "+version, "vpnpush manual")
	m.line(".nh\n.ad l") // commands are not to be torn
	m.section("NAME")
	m.line(`%s \- %s`, roff(pageName(cmd)), roff(strings.ToLower(cmd.Short[:1])+cmd.Short[1:]))
	m.section("SYNOPSIS")
	_, args, _ := strings.Cut(cmd.UseLine(), cmd.CommandPath())
	m.line("%s%s", bold(cmd.CommandPath()), italic(args))
	m.section("DESCRIPTION")
	help, exits := cutExits(cmd.Long)
	if help == "" {
		help = cmd.Short + "."
	}
	m.text(help)
	if verbs := below(cmd); len(verbs) > 0 {
		m.section("COMMANDS")
		for _, c := range verbs {
			m.tagged(bold(c.Name()), c.Short+".")
		}
	}
	m.options(cmd)
	m.section("EXIT STATUS")
	switch {
	case !cmd.HasParent():
		for _, e := range exitMeanings {
			m.tagged(bold(e.codes), e.meaning+".")
		}
	case len(exits) > 0:
		for _, e := range exits {
			code, meaning, _ := strings.Cut(e, " ")
			m.tagged(bold(code), strings.TrimSuffix(meaning, ".")+".")
		}
	default:
		m.line("0 when it has done what was asked; else one of those in %s.", reference(cmd.Root()))
	}
	if len(exits) > 0 {
		m.line(".PP\nAll codes are in %s.", reference(cmd.Root()))
	}
	if !cmd.HasParent() {
		m.section("ENVIRONMENT")
		for _, e := range environment {
			m.tagged(bold(e.name), e.means)
		}
		m.section("FILES")
		for _, f := range files {
			m.tagged(italic(f.name), f.means)
		}
	}
	m.section("SEE ALSO")
	m.line("%s", strings.Join(relatives(cmd), ",\n"))
	return m.String()
}

// cutExits takes the exit codes out of a command's help, each with its meaning behind it.
func cutExits(help string) (rest string, exits []string) {
	rest, list, found := strings.Cut(help, "Exit codes: ")
	if !found {
		return help, nil
	}
	list, after, _ := strings.Cut(list, "\n\n")
	for _, one := range strings.Split(strings.ReplaceAll(list, "\n", " "), "; ") {
		if one[0] >= '0' && one[0] <= '9' || len(exits) == 0 {
			exits = append(exits, one)
		} else {
			exits[len(exits)-1] += "; " + one
		}
	}
	return rest + after, exits
}

// options adds the flags of a command: those of all commands to the program's own page.
func (m *manual) options(cmd *cobra.Command) {
	m.section("OPTIONS")
	none := true
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		none = false
		value, usage := pflag.UnquoteUsage(f)
		usage = strings.TrimSuffix(usage, " ("+value+")")
		tag := bold("--" + f.Name)
		if f.Shorthand != "" {
			tag = bold("-"+f.Shorthand) + ", " + tag
		}
		if value != "" {
			tag += " " + italic(value)
		}
		if !slices.Contains([]string{"", "0", "0s", "[]", "false"}, f.DefValue) {
			usage += " (default " + f.DefValue + ")"
		}
		m.tagged(tag, usage+".")
	})
	if cmd.HasParent() {
		if !none {
			m.line(".PP")
		}
		m.line("Options that all commands take are in %s.", reference(cmd.Root()))
	}
}

// relatives names the pages of a command's parents and of what is below it, and where
// the documentation is.
func relatives(cmd *cobra.Command) (out []string) {
	for c := cmd.Parent(); c != nil; c = c.Parent() {
		out = append([]string{reference(c)}, out...)
	}
	if cmd.Name() != "completion" {
		for _, c := range below(cmd) {
			out = append(out, reference(c))
		}
	}
	return append(out, italic("/usr/share/doc/vpnpush/"))
}

// named is a name and what it means.
type named struct{ name, means string }

// environment are the variables that vpnpush reads.
var environment = []named{
	{"VPNPUSH_INVENTORY", "The inventory, where --inventory does not name one."},
	{"VPNPUSH_IDENTITY", "The text of an age identity or a private key of ssh that opens encrypted secrets. It goes before the file, and is not handed on to other programs."},
	{"VPNPUSH_SSH_CONFIG", "A file to read in the place of ssh's own configuration; none for no file."},
	{"SSH_AUTH_SOCK", "The ssh-agent whose keys are offered."},
	{"XDG_STATE_HOME", "Where drift keeps what it has told; else ~/.local/state."},
	{"NO_COLOR", "No colour, unless --color says otherwise."},
	{"SOURCE_DATE_EPOCH", "For man: the day that its pages bear."},
}

// files are what vpnpush reads and writes.
var files = []named{
	{"vpnpush.toml", "The inventory."},
	{"~/.config/vpnpush/identity.txt", "The identity that opens encrypted secrets, unless secrets.identity names another."},
	{"~/.ssh/config, ~/.ssh/known_hosts", "How hosts are reached, and their keys, as ssh has them."},
	{"~/.local/state/vpnpush/ID.json", "When drift has seen which host, of the inventory with that ID."},
	{"/var/lib/vpnpush/", "On a host: what was applied to it, the history, and backups for a rollback."},
}
