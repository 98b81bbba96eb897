package tasks

import "github.com/vpnpush/vpnpush/tasks/strongswan"

// CharonLog brings what charon has logged lately, by whichever daemon it runs. It is for
// hosts with a tunnel that is down: others pay nothing for it.
var CharonLog = Read{Kind: ReadCommand, Arg: "charon-log",
	Shell: "journalctl -q --no-pager -o cat -t charon -t charon-systemd --since=-15min -n 1000"}

// LastWord returns charon's last word on why a host's tunnel is not up, nil for none or
// where CharonLog was not read. alone says that the host has no other tunnel of ours.
func LastWord(f Facts, t strongswan.Tunnel, alone bool) *strongswan.Word {
	if f.charonLog == nil {
		return nil
	}
	return f.charonLog().LastWord(t, alone)
}

// readCharonLog returns what CharonLog brought. It says more than is needed: to be without
// is no failure.
func readCharonLog(f Facts) *strongswan.Log {
	out, err := f.Output(CharonLog.Arg)
	if err != nil {
		out = nil
	}
	return strongswan.ReadLog(out)
}
