package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) secretEncryptCmd() *cobra.Command {
	var all, begin bool
	cmd := &cobra.Command{
		Use:   "encrypt",
		Short: "Encrypt the secrets that stand in the inventory",
		Long: `Encrypt puts what is encrypted in the place of each secret that stands in the
inventory in plain text, so that it can be committed. Who has an identity of one of
secrets.recipients can open it. Nothing else of the file changes: what is encrypted
already stays byte for byte.

With --all that is opened and encrypted anew as well: after a recipient has come or
gone. With --init your own public key becomes the first recipient, of the identity
that is there or of a new one.

Secrets that are kept elsewhere (env, file, command) are left. docs/secrets.md says
more.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "also encrypt anew what is encrypted already, for the recipients as they are now")
	cmd.Flags().BoolVar(&begin, "init", false, "write your own public key into the inventory first, and make an identity where there is none")
	return a.editing(cmd, func(d *inventory.Draft, _ []string) (view.Edit, error) {
		var e view.Edit
		if begin {
			if err := a.beginRecipients(cmd.Context(), d, &e); err != nil {
				return e, err
			}
		}
		return e, a.encrypt(cmd.Context(), d, all, &e)
	})
}

// beginRecipients makes the user's own public key the first recipient.
func (a *app) beginRecipients(ctx context.Context, d *inventory.Draft, e *view.Edit) error {
	if len(d.Inventory.Secrets.Recipients) > 0 {
		return transport.WithHint(errors.New("there are recipients already"), "leave --init out; to add one, write it into secrets.recipients, and then: vpnpush secret encrypt --all")
	}
	file, err := d.Inventory.IdentityFile()
	if err != nil {
		return err
	}
	mine, made, err := a.ownRecipients(ctx, file)
	if err != nil {
		return err
	}
	var texts []string
	for _, r := range mine {
		texts = append(texts, r.String())
	}
	if d.Has("secrets") {
		d.Set([]string{"secrets", "recipients"}, texts)
	} else {
		d.Add([]string{"secrets"}, inventory.Pair{Key: []string{"recipients"}, Value: texts})
	}
	d.Inventory.Secrets.Recipients = mine
	d.Seal = d.Inventory.Secrets.Seal
	e.Edited = append(e.Edited, "secrets.recipients")
	if made {
		e.Notes = append(e.Notes, newIdentity(file, mine[0]))
	}
	return nil
}

// newIdentity says that an identity was made.
func newIdentity(file string, r secret.Recipient) string {
	return fmt.Sprintf("Made an identity, %s, of the recipient %s. Keep a copy of it in a safe place: nothing else opens these secrets.", file, r)
}

// encrypt encrypts what stands in the inventory; all of it anew, or what is not yet.
func (a *app) encrypt(ctx context.Context, d *inventory.Draft, all bool, e *view.Edit) error {
	var keys []inventory.Key
	plain, sealed := 0, 0
	for _, k := range d.Inventory.Keys() {
		switch {
		case k.Place != inventory.PlaceText:
			e.Left = append(e.Left, view.LeftSecret{Key: k.String(), Place: string(k.Place)})
			continue
		case k.Sealed:
			sealed++
			if !all {
				continue
			}
		default:
			plain++
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		e.Done = "Nothing to encrypt."
		if sealed > 0 {
			e.Done = fmt.Sprintf("Nothing to encrypt: all of it is already (%s). For other recipients: vpnpush secret encrypt --all", words.Count(sealed, "secret"))
		}
		return nil
	}
	if d.Seal == nil { // it says whom it misses
		d.Seal = d.Inventory.Secrets.Seal
	}
	if len(d.Inventory.Secrets.Recipients) > 0 {
		diags := d.Inventory.Fetch(ctx, keys...)
		a.redact(d.Inventory)
		if len(diags.Errors()) > 0 {
			return a.faults(ctx, diags)
		}
	}
	for _, k := range keys {
		e.Edited = append(e.Edited, k.String())
		d.Set(k.Path, d.Inventory.Secret(k))
	}
	e.Done = fmt.Sprintf("Encrypted %s to %s.", words.Count(len(keys), "secret"), words.Count(len(d.Inventory.Secrets.Recipients), "recipient"))
	if is, known := d.Inventory.Mine(ctx); known && !is {
		e.Notes = append(e.Notes, "Your own identity is of none of them: you cannot open these secrets any more.")
	}
	if plain > 0 {
		e.Notes = append(e.Notes, "What stood here in plain text may be in older commits and in copies. New ones make that worthless: vpnpush secret rotate all")
	}
	if all && sealed > 0 {
		e.Notes = append(e.Notes, "Who was a recipient can still open what is in older commits. New ones make that worthless: vpnpush secret rotate all")
	}
	return nil
}
