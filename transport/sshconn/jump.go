package sshconn

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// hop is a host on the way, or at its end.
type hop struct {
	target *Target
	raw    bool // not of the inventory: written out, or named by ssh_config
}

// key is equal for hops that are reached with the same settings.
func (h hop) key() string {
	t := h.target
	if !h.raw {
		return t.Name
	}
	return fmt.Sprintf("\x00%s\x00%s\x00%d\x00%s\x00%s\x00%t\x00%v", t.Host, t.User, t.Port, t.IdentityFile, t.KnownHosts, t.AcceptNew, t.ConnectTimeout)
}

// parseJump reads a comma list of hops, nearest first. Names of targets count
// only in the inventory: ssh_config's ProxyJump means ssh_config's names.
func (d *Dialer) parseJump(t *Target, list string, inventory bool) ([]hop, error) {
	if list == "none" {
		return nil, nil
	}
	var hops []hop
	for _, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if inventory {
			name := text
			if name == "hub" && d.Hub != "" {
				name = d.Hub
			}
			if via := d.targets[name]; via != nil {
				if via.Name == t.Name {
					return nil, badJump(t, fmt.Errorf("jump %q: the host jumps through itself", text))
				}
				if via.Local {
					// Jumping through this machine is not jumping.
					continue
				}
				hops = append(hops, hop{target: via})
				continue
			}
		}
		user, host, port, err := splitHop(text)
		if err != nil {
			return nil, badJump(t, fmt.Errorf("jump %q: %w", text, err))
		}
		// What the inventory says of its hosts in general holds for a host that
		// it only passes through.
		hops = append(hops, hop{raw: true, target: &Target{
			Name: host, Host: host, User: user, Port: port,
			IdentityFile: t.IdentityFile, KnownHosts: t.KnownHosts, AcceptNew: t.AcceptNew, ConnectTimeout: t.ConnectTimeout,
		}})
	}
	return hops, nil
}

// badJump returns an error of t's jump with its mend.
func badJump(t *Target, err error) error {
	return transport.WithHint(err, `set ssh.jump of %s, or ProxyJump in ssh_config: "hub", another host, [user@]host[:port], or "none"`, t.Name)
}

// splitHop splits [ssh://][user@]host[:port]; an IPv6 address with a port is
// in brackets.
func splitHop(text string) (user, host string, port int, err error) {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "ssh://"), "/")
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		user, text = text[:i], text[i+1:]
	}
	host = text
	if h, p, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", "", 0, fmt.Errorf("port %q is not one", p)
		}
		host, port = h, int(n)
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	// ssh itself takes no more, and a user's name ends up in its arguments too.
	if host == "" || strings.HasPrefix(host, "-") || strings.HasPrefix(user, "-") || strings.ContainsFunc(user+host, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("[]/,'\"`$;&<>|(){}\\", r)
	}) {
		return "", "", 0, fmt.Errorf("want [user@]host[:port]")
	}
	return user, host, port, nil
}

// via returns the shared connection to the end of hops. seen are the hosts that
// are being reached through it, nearest last.
func (d *Dialer) via(ctx context.Context, hops []hop, seen []string) (*client, error) {
	var keys []string
	for _, h := range hops {
		keys = append(keys, h.key())
	}
	end := hops[len(hops)-1]
	key := strings.Join(keys, "\x01")
	if slices.Contains(seen, end.key()) {
		return nil, badJump(end.target, fmt.Errorf("jump through %s: hosts jump through each other", end.target.Name))
	}
	s, err := d.settings(ctx, end)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", end.target.Name, err)
	}
	if len(hops) > 1 {
		// A list says the whole way, as ssh -J does.
		whole := *s
		whole.jump = hops[:len(hops)-1]
		s = &whole
	}
	seen = append(slices.Clone(seen), end.key())
	l := shared(d, d.jumps, key, func() (*client, error) {
		c, err := d.connect(context.Background(), s, seen)
		if err != nil {
			d.forget(key, nil)
			return nil, err
		}
		d.mu.Lock()
		closed := d.closed
		d.mu.Unlock()
		if closed {
			c.close(errClosed)
			return nil, errClosed
		}
		go func() {
			<-c.gone
			d.forget(key, c)
		}()
		return c, nil
	})
	return l.wait(ctx)
}

// forget makes the next one dial the jump host again; those who use the
// connection keep it. c nil: an attempt that failed.
func (d *Dialer) forget(key string, c *client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.jumps[key]
	if l == nil {
		return
	}
	if c != nil {
		select {
		case <-l.done:
			if l.val != c {
				return
			}
		default:
			return // a newer attempt
		}
	}
	delete(d.jumps, key)
}

// text is the hop as ssh -J takes it.
func (h hop) text() string {
	t := h.target
	host := t.Host
	if host == "" {
		host = t.Name
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if t.User != "" {
		host = t.User + "@" + host
	}
	if t.Port != 0 {
		host += ":" + strconv.Itoa(t.Port)
	}
	return host
}
