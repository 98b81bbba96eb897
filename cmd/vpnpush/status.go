package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) statusCmd() *cobra.Command {
	var watch bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the tunnels and L2TP sessions as they run now",
		Long: `Status asks the hub, which sees every tunnel: since when it is up, what went
through it, and the address behind which the site is. It shows the sessions of
L2TP clients, too. Where the hub does not answer, the sites are asked. --limit
chooses the sites that are shown. See docs/status.md for what the columns say.

Exit codes: 0 all tunnels are up; 1 usage or inventory; 2 one is down; 4 the hub
was not reached; 6 both.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return err
			}
			if watch && a.json {
				return &hinted{errors.New("status --watch draws on a terminal, and --json does not"), "leave one of them out"}
			}
			if is, _, _ := terminal(a.stdout); watch && !is {
				return &hinted{errors.New("status --watch: standard output is no terminal"), "leave --watch out"}
			}
			return wholeSeconds("interval", interval, time.Second)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			selected, err := inv.Select(a.limit)
			if err != nil {
				return err
			}
			a.limit = nil // the hub is asked in any case
			e, hosts, d, err := a.engineFor(inv)
			if err != nil {
				return err
			}
			defer d.Close()
			defer e.Close()
			var ask engine.StatusAsk
			alone := slices.Equal(selected, []string{inv.Hub.Name}) // the hub: all of its tunnels
			for _, h := range hosts {
				switch {
				case h.Name == inv.Hub.Name:
					ask.Hub = h
				case alone || slices.Contains(selected, h.Name):
					ask.Sites = append(ask.Sites, h)
				}
			}
			if inv.L2TP != nil {
				ask.L2TPLocal = inv.L2TP.LocalIP.String()
			}
			o := view.StatusOptions{Inventory: inv.ID, L2TP: inv.L2TP != nil}
			ctx := cmd.Context()
			if !watch {
				a.view.Hosts(1)
				s := e.Status(ctx, ask)
				if ctx.Err() != nil {
					return &codeError{exitInterrupted, nil}
				}
				if err := a.view.Status(s, o); err != nil {
					return err
				}
				return statusResult(s)
			}

			e.Observer = nil // it would draw over the table
			o.Refresh = true
			leave, err := a.fullScreen()
			if err != nil {
				return err
			}
			var s *engine.Status
			for {
				now := e.Status(ctx, ask)
				if ctx.Err() != nil {
					break
				}
				s = now
				_, _, o.Height = terminal(a.stdout)
				if err := a.view.Status(s, o); err != nil {
					leave()
					return err
				}
				select {
				case <-ctx.Done():
				case <-time.After(interval):
					continue
				}
				break
			}
			leave()
			if s == nil {
				return &codeError{exitInterrupted, nil}
			}
			// Ctrl-C is how it ends: what was seen last stays on the screen
			o.Refresh = false
			if err := a.view.Status(s, o); err != nil {
				return err
			}
			return statusResult(s)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&watch, "watch", false, "look again and again, until Ctrl-C")
	f.DurationVar(&interval, "interval", 2*time.Second, "with --watch: look every `TIME`")
	return cmd
}

// fullScreen takes the whole terminal, and gives it back when leave is called
// (xterm's alternate screen; the cursor is hidden).
func (a *app) fullScreen() (leave func(), err error) {
	if _, err := io.WriteString(a.stdout, "\x1b[?1049h\x1b[?25l\x1b[2J"); err != nil {
		return nil, fmt.Errorf("write the result: %w", err)
	}
	return func() { io.WriteString(a.stdout, "\x1b[?25h\x1b[?1049l") }, nil
}

func statusResult(s *engine.Status) error {
	code := exitOK
	up, known := s.AllUp()
	if !up {
		code |= exitChanges
	}
	if !known {
		code |= exitHosts
	}
	if code == exitOK {
		return nil
	}
	return &codeError{code, nil}
}
