package engine

import (
	"reflect"
	"sync"

	"github.com/vpnpush/vpnpush/tasks"
)

// changes keeps one of many changes that say the same: most of what a thousand hosts lack
// they all lack.
type changes struct {
	mu sync.Mutex
	by map[string][]*tasks.Change // by task
}

// maxKinds is how many changes of one task are looked through. Hosts of several releases
// need some, and one file that is another's on each host shall not be looked for among all.
const maxKinds = 8

// same returns a change that says what c says, which is not to be changed.
func (cs *changes) same(c tasks.Change) *tasks.Change {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	known := cs.by[c.Task]
	for _, k := range known {
		if reflect.DeepEqual(*k, c) {
			return k
		}
	}
	if len(known) < maxKinds {
		if cs.by == nil {
			cs.by = map[string][]*tasks.Change{}
		}
		cs.by[c.Task] = append(known, &c)
	}
	return &c
}

// lighten leaves of a host's plan what is told and saved of it.
func (e *Engine) lighten(hp *HostPlan) {
	hp.Facts = hp.Facts.Only(tasks.ManifestPath)
	var cs []tasks.Change
	if len(hp.Changes) > 0 {
		cs = make([]tasks.Change, len(hp.Changes))
	}
	for i, c := range hp.Changes {
		cs[i] = *e.told.same(c.Planned())
	}
	hp.Changes = cs
}
