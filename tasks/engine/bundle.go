package engine

import (
	"fmt"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/transport"
)

// unseenConfirm is how long an apply of a bundle waits to be confirmed. The host itself does
// that, once its tunnel is up, and has host.BundlePatience for it.
const unseenConfirm = 2 * host.BundlePatience

// BundleOptions is what its operator says of a bundle.
type BundleOptions = host.BundleOptions

// Bundle returns the apply of a site that nobody can look at, as a script for somebody who
// is there. It is planned as any, for each of what the site's host may be.
func (e *Engine) Bundle(h Host, bares []tasks.BareHost, o BundleOptions) (secret.Value, error) {
	b := host.Bundle{BundleOptions: o, Site: h.Name, Tunnel: h.Tunnels[0]}
	for _, bare := range bares {
		x, err := e.unseen(h, bare)
		if err != nil {
			return secret.Value{}, err
		}
		b.Applies = append(b.Applies, host.BundleApply{BareHost: bare, Txn: x})
	}
	script, err := b.Script()
	if err != nil {
		return script, transport.Bug(err)
	}
	return script, nil
}

// unseen returns the apply of a host that is supposed to be bare.
func (e *Engine) unseen(h Host, bare tasks.BareHost) (host.Txn, error) {
	h.Preflight = nil // it judges what was read; what is supposed is in its place
	hp := e.check(h, HostPlan{Name: h.Name, Role: h.Role, Facts: bare.Facts})
	if hp.Err != nil {
		return host.Txn{}, hp.Err
	}
	if b := hp.Blocked(); len(b) > 0 {
		return host.Txn{}, transport.Bug(fmt.Errorf("%s: %s", b[0].Task, b[0].Blocked))
	}
	x, err := e.newAttempt(h, &hp).txn(unseenConfirm)
	x.Unseen, x.Supposed = true, bare.Supposed
	return x, err
}
