package tasks

import "strings"

// Remains is what vpnpush's own applies leave on a host beside what they are for: its
// record, with backups and history, and the unit that puts back at boot. It goes with the
// last of the rest. A host whose first apply was put back has nothing else, and no
// manifest that would tell of it.
type Remains struct{}

// ID implements Task.
func (Remains) ID() string { return "remains:" + StateDir }

// Reads implements Task. While an apply waits there, what there is is of that one.
func (Remains) Reads() []Read {
	return []Read{{Kind: ReadCommand, Arg: "remains", Shell: `[ -e ` + StateDir + `/pending ] || for x in ` + StateDir + ` ` + bootGuard + `; do [ ! -e "$x" ] || echo "$x"; done`}}
}

// bootGuard is the unit that the apply script installs.
const bootGuard = "/etc/systemd/system/vpnpush-revert.service"

// Check implements Task. The apply script takes it all away where vpnpush leaves.
func (t Remains) Check(f Facts) (*Change, error) {
	out, err := f.Output("remains")
	there := strings.Fields(string(out))
	if err != nil || len(there) == 0 {
		return nil, err
	}
	return &Change{Task: t.ID(), Action: Delete, Note: strings.Join(there, ", ")}, nil
}
