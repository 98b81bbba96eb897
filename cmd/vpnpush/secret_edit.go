package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

// secretKeys returns the keys of the secrets of an inventory as they are written.
func secretKeys(inv *inventory.Inventory) (names []string) {
	for _, k := range inv.Keys() {
		names = append(names, k.String())
	}
	return names
}

func (a *app) secretEditCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "edit KEY",
		Short: "Write a secret of your own into the inventory",
		Long: `Edit asks for a secret on the terminal, twice and without an echo, and writes it into
the inventory, encrypted where that has recipients. Without a terminal it reads the
secret from standard input, less one line end. KEY is the key as it is written, such
as sites.tokyo.psk, or the site, the user or l2tp that it is of.

No editor is started and no file but the inventory is written. A random secret is
written by ` + "`vpnpush secret rotate`" + `.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(secretKeys),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			e, err := a.secretEdit(ctx, args[0])
			if err != nil {
				return endOf(ctx, "secret edit "+args[0], err)
			}
			e.Next = withFile(cmd, e.Next...)
			return editView(a.view).Edit(e)
		},
	}
}

// secretEdit writes a secret that it asks for. Others can edit the inventory until that
// was answered.
func (a *app) secretEdit(ctx context.Context, word string) (view.Edit, error) {
	inv, err := a.load(ctx)
	if err != nil {
		return view.Edit{}, err
	}
	k, err := editable(inv, word)
	if err != nil {
		return view.Edit{}, err
	}
	v, err := a.newSecret(ctx, k)
	if err != nil {
		return view.Edit{}, err
	}
	return a.edit(ctx, func(d *inventory.Draft) (view.Edit, error) {
		e := view.Edit{Command: "secret edit", File: a.inventory}
		k, err := editable(d.Inventory, k.String())
		if err != nil {
			return e, err
		}
		if diags := d.Inventory.Try(k, v); len(diags) > 0 {
			return e, transport.WithHint(errors.New(diags[0].Summary), "%s", diags[0].Mend)
		}
		d.Set(k.Path, v)
		e.Edited = []string{k.String()}
		e.Done = fmt.Sprintf("Wrote %s.", k)
		if n := len(d.Inventory.Secrets.Recipients); n > 0 {
			e.Done = fmt.Sprintf("Wrote %s, encrypted to %s.", k, words.Count(n, "recipient"))
		} else {
			e.Notes = []string{"It stands there in plain text; encrypted it could be committed: vpnpush secret encrypt --init"}
		}
		switch hub := d.Inventory.Hub.Name; {
		case k.Path[0] == "l2tp":
			e.Next = []string{applyTo(hub)}
		case k.Path[len(k.Path)-1] == "psk":
			e.Next = []string{applyTo(hub, k.Path[1])}
		}
		return e, nil
	})
}

// editable returns the key that a word means, whose secret stands in the inventory.
func editable(inv *inventory.Inventory, word string) (inventory.Key, error) {
	k, err := inv.Named(word)
	if err == nil && k.Place != inventory.PlaceText {
		err = transport.WithHint(fmt.Errorf("%s is kept in %s", k, k.Place), "change it there, and then: vpnpush apply")
	}
	return k, err
}

// newSecret asks for a secret, twice, or reads it where there is no terminal.
func (a *app) newSecret(ctx context.Context, k inventory.Key) (secret.Value, error) {
	if _, terminal := a.keyboard(); !terminal {
		text, err := a.readSecret(ctx)
		return secret.New(text), err
	}
	first, err := a.askSecret(ctx, fmt.Sprintf("new %s: ", k))
	if err != nil {
		return secret.Value{}, err
	}
	again, err := a.askSecret(ctx, "once more: ")
	if err != nil {
		return secret.Value{}, err
	}
	if string(first) != string(again) {
		return secret.Value{}, transport.WithHint(errors.New("the two are not the same; nothing was written"), "run it again")
	}
	return secret.New(string(first)), nil
}

// readSecret reads a secret from standard input, until ctx ends.
func (a *app) readSecret(ctx context.Context) (string, error) {
	const most = 4096
	type answer struct {
		text []byte
		err  error
	}
	c := make(chan answer, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(a.stdin, most))
		c <- answer{b, err}
	}()
	select {
	case <-ctx.Done():
		return "", ended(ctx)
	case r := <-c:
		if r.err != nil {
			return "", fmt.Errorf("read the secret: %w", r.err)
		}
		text, _ := strings.CutSuffix(string(r.text), "\n")
		text, _ = strings.CutSuffix(text, "\r")
		return text, nil
	}
}
