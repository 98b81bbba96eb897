package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// planSource is what the plans of an inventory are made of.
func planSource(inv *inventory.Inventory) (engine.Source, error) {
	text, err := os.ReadFile(inv.Path)
	if err != nil {
		return engine.Source{}, fmt.Errorf("inventory: %w", err)
	}
	return engine.Source{Owner: inv.ID, Text: text, Secrets: inv.SecretValues()}, nil
}

func (a *app) savePlan(inv *inventory.Inventory, p *engine.Plan, path string) error {
	src, err := planSource(inv)
	if err != nil {
		return err
	}
	s, err := engine.Save(p, src, operator(), time.Now())
	if err != nil {
		return err
	}
	if err := s.Write(path); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "Saved to %s, good for %d hours: vpnpush apply %s\n", path, int(engine.PlanLife.Hours()), path)
	return nil
}

// savedPlan reads the plan file that an apply is given.
func (a *app) savedPlan(inv *inventory.Inventory, path string, o applyOptions) (*engine.Fresh, error) {
	switch {
	case len(a.limit) > 0:
		return nil, &hinted{errors.New("apply: a saved plan names its own hosts; --limit cannot take some of them away"), "give --limit to `vpnpush plan --out FILE`"}
	case o.adopt:
		return nil, &hinted{errors.New("apply: --adopt is not in the saved plan"), "apply without a file, and look at what it shows"}
	}
	s, err := engine.ReadSaved(path)
	if err != nil {
		return nil, err
	}
	src, err := planSource(inv)
	if err != nil {
		return nil, err
	}
	f, err := s.Check(src, time.Now())
	if errors.Is(err, engine.ErrStale) {
		return nil, &codeError{exitLocked, err}
	}
	return f, err
}
