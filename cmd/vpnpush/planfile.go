package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

type savingView interface {
	Note(string)
	Teller() engine.Teller
}

// planSource returns what the plans of an inventory are made of.
func planSource(ctx context.Context, inv *inventory.Inventory) (engine.Source, error) {
	text, err := inventory.Text(ctx, inv.Path)
	if err != nil {
		return engine.Source{}, fmt.Errorf("inventory: %w", err)
	}
	return engine.Source{Owner: inv.ID, Text: text, Secrets: inv.SecretValues()}, nil
}

// savePlan writes a plan to a file, and tells how long it is good for.
func savePlan(ctx context.Context, inv *inventory.Inventory, p *engine.Plan, path string, v savingView) error {
	src, err := planSource(ctx, inv)
	if err != nil {
		return err
	}
	s, err := engine.Save(p, src, operator(), time.Now(), v.Teller())
	if err != nil {
		return err
	}
	if err := s.Write(path); err != nil {
		return err
	}
	v.Note(fmt.Sprintf("Saved to %s, good for %d hours: vpnpush apply %s", path, int(engine.PlanLife.Hours()), path))
	return nil
}

// readPlan reads the plan file that an apply is given, and returns its hosts as
// far as the inventory has them.
func (o *operation) readPlan(ctx context.Context, path string, f applyFlags) (s *engine.Saved, hosts []string, err error) {
	switch {
	case len(o.app.limit) > 0:
		return nil, nil, transport.WithHint(errors.New("apply: a saved plan names its own hosts; --limit cannot leave some of them out"), "give --limit to `vpnpush plan --out FILE`")
	case o.app.shard.Of > 0:
		return nil, nil, errShardSaved
	case len(f.gone) > 0:
		return nil, nil, transport.WithHint(errors.New("apply: --gone is not in the saved plan"), "apply without a file, and look at what it shows")
	case f.adopt:
		return nil, nil, transport.WithHint(errors.New("apply: --adopt is not in the saved plan"), "apply without a file, and look at what it shows")
	}
	s, err = engine.ReadSaved(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, no := o.inv.Select([]string{path}); no == nil {
			return nil, nil, transport.WithHint(err, "apply takes a saved plan; hosts are chosen by --limit: vpnpush apply --limit %s", path)
		}
	}
	if err != nil {
		return nil, nil, cmp.Or(ended(ctx), err)
	}
	for _, h := range o.inv.Hosts() {
		if slices.ContainsFunc(s.Hosts, func(was engine.SavedHost) bool { return was.Name == h.Name }) {
			hosts = append(hosts, h.Name)
		}
	}
	return s, hosts, nil
}

// checkPlan checks a plan file against the inventory, which has the secrets of its
// hosts by then.
func (o *operation) checkPlan(ctx context.Context, s *engine.Saved) (*engine.Fresh, error) {
	src, err := planSource(ctx, o.inv)
	if err != nil {
		return nil, err
	}
	fresh, err := s.Check(src, time.Now())
	if errors.Is(err, engine.ErrStale) {
		return nil, &codeError{exitLocked, err}
	}
	return fresh, err
}
