package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

// jobIndex is where Kubernetes tells a pod of an indexed Job which one it is, from 0.
const jobIndex = "JOB_COMPLETION_INDEX"

func (a *app) shardFlag(fs *pflag.FlagSet) {
	fs.StringVar(&a.shardText, "shard", "", "only shard `I/N` of the sites, such as 3/8; index:2/8 counts from 0, auto/8 takes that from $"+jobIndex)
}

// mostShards is more than there are machines for.
const mostShards = 100_000

// parseShard returns the shard that --shard names: I/N counts from 1, index:I/N from 0.
func parseShard(text string, getenv func(string) string) (inventory.Shard, error) {
	i, n, ok := strings.Cut(text, "/")
	of, err := strconv.Atoi(n)
	if !ok || err != nil || of < 1 || of > mostShards {
		return inventory.Shard{}, transport.WithHint(fmt.Errorf("--shard %s: behind the / stands how many shards there are, 1 to %d", text, mostShards), shardShape)
	}
	first, told := 1, ""
	index, zero := strings.CutPrefix(i, "index:")
	switch {
	case i == "auto":
		index = getenv(jobIndex)
		if index == "" {
			return inventory.Shard{}, transport.WithHint(fmt.Errorf("--shard %s: $%s is not set", text, jobIndex),
				"Kubernetes sets it in a Job with completionMode: Indexed; elsewhere name the shard, such as --shard 1/%d", of)
		}
		told = fmt.Sprintf(", where $%s is %q", jobIndex, index)
		fallthrough
	case zero:
		i, first = index, 0
	}
	number, err := strconv.Atoi(i)
	if last := of - 1 + first; err != nil || number < first || number > last {
		return inventory.Shard{}, transport.WithHint(fmt.Errorf("--shard %s%s: of %d shards that is none; they are %d to %d", text, told, of, first, last), shardShape)
	}
	return inventory.Shard{Number: number - first + 1, Of: of}, nil
}

const shardShape = "3/8 is the third of eight; index:2/8 is the same, counted from 0, and auto/8 takes that from $" + jobIndex

// sharded returns those of the chosen hosts that are in the shard of this run, and tells
// first how many sites that are.
func (o *operation) sharded(patterns, chosen []string) ([]string, error) {
	s := o.app.shard
	mine, all, err := o.inv.Sharded(s, patterns, chosen)
	if err != nil {
		return nil, err
	}
	o.app.view.Sharded(view.Shard{
		Inventory: o.inv.ID, Version: programVersion(), Of: s.Of, Numbers: []int{s.Number},
		Sites: len(mine), AllSites: len(all), SitesDigest: inventory.SitesDigest(all),
	}, time.Now())
	if !o.app.quietShard {
		o.app.view.Note(fmt.Sprintf("vpnpush: %s: %d of %s", s, len(mine), words.Count(len(all), "site")))
	}
	return mine, nil
}

// besideHub makes a run of a shard leave those sites alone that the hub lacks.
func (o *operation) besideHub(ctx context.Context, hosts []engine.Host) error {
	if o.app.shard.Of == 0 || len(hosts) == 0 {
		return nil
	}
	name := o.inv.Hub.Name
	if err := o.app.resolved(ctx, o.inv, o.inv.ResolveLogin(ctx, name)); err != nil {
		return err
	}
	o.dialer.Targets = o.app.targets(o.inv)
	hub, err := engineHosts(o.inv, []string{name})
	if err != nil {
		return err
	}
	o.engine.Hub = &hub[0]
	return nil
}

// errShardSaved is why a saved plan takes no shard.
var errShardSaved = transport.WithHint(errors.New("apply: a saved plan names its own hosts; --shard cannot leave some of them out"), "give --shard to `vpnpush plan --out FILE`")

// ofShard returns the path of a file of which each shard has its own.
func ofShard(path string, s inventory.Shard) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%d-of-%d%s", strings.TrimSuffix(path, ext), s.Number, s.Of, ext)
}
