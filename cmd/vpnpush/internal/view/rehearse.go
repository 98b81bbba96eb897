package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// Rehearsal is how tunnels came out in twins of their hosts.
type Rehearsal struct {
	*engine.Rehearsal
	// Causes has, by site, where in the inventory it comes from that a tunnel is not up.
	Causes map[string]Cause
}

// Cause is where a fault comes from, and what mends it.
type Cause struct {
	From []string // "vpnpush.toml:12: sites.tokyo.psk"
	Mend string
}

// notProved is what no rehearsal tells.
const notProved = "Not proved: a site's own release of strongSwan and its own conns and keys, the way through the internet, packet filters."

// rehearsed is what was counted over all sites.
type rehearsed struct{ sites, up, down, untried int }

func (r *Rehearsal) count() rehearsed {
	n := rehearsed{sites: len(r.Sites)}
	for _, s := range r.Sites {
		switch {
		case r.Err != nil || s.Err != nil:
			n.untried++
		case s.Up:
			n.up++
		default:
			n.down++
		}
	}
	return n
}

func (n rehearsed) line() string {
	if n.up == n.sites {
		return fmt.Sprintf("Rehearsal: %s, all up.", words.Count(n.sites, "tunnel"))
	}
	s := fmt.Sprintf("Rehearsal: %s, %d up", words.Count(n.sites, "tunnel"), n.up)
	if n.down > 0 {
		s += fmt.Sprintf(", %d not up", n.down)
	}
	if n.untried > 0 {
		s += fmt.Sprintf(", %d not tried", n.untried)
	}
	return s + "."
}

// ipsec says whose IPsec it was.
func (r *Rehearsal) ipsec() string {
	switch {
	case r.Version == "":
		return ""
	case r.UserSpace:
		return "user space"
	}
	return "kernel"
}

// Rehearsal writes how tunnels came out in twins of their hosts.
func (v *View) Rehearsal(r *Rehearsal) error {
	if v.o.JSON {
		return v.encode(v.rehearsalDocument(r))
	}
	return v.print(v.rehearsalPage(r))
}

func (v *View) rehearsalPage(r *Rehearsal) *page {
	p := v.page()
	under := func(label, text string) { p.folded(v.o.Width, "    ", plain, label+": ", text) }
	head := r.Name + " (hub): "
	switch {
	case r.Err != nil:
		head += resultWord(r.Result)
	case r.Version == "":
		head += "nothing was tried"
	default:
		head += "strongSwan " + r.Version + ", " + map[bool]string{true: "IPsec in user space", false: "the kernel's IPsec"}[r.UserSpace]
		if r.NoNAT == "" {
			head += ", each site behind a NAT"
		}
	}
	p.line("", bold, clean(head))
	p.trouble(r.Err)
	if r.NoNAT != "" {
		p.folded(v.o.Width, "  ", yellow, "no NAT between the twins: ", r.NoNAT)
	}
	for _, c := range r.Unmade {
		p.folded(v.o.Width, "  ", red, "blocked: ", c.Task+": "+c.Blocked)
		under("mend", c.Mend)
	}
	n := r.count()
	if n.down+r.ties() > 0 {
		for _, b := range r.Beside {
			p.folded(v.o.Width, "  ", yellow, "beside: ", b)
		}
	}
	width := 0
	for _, s := range r.Sites {
		width = max(width, columns(oneLine(s.Name)))
	}
	for _, s := range r.Sites {
		name := pad(oneLine(s.Name), width) + "  "
		switch {
		case r.Err != nil:
			p.line("  ", red, name+"not tried")
		case s.Err != nil:
			p.folded(v.o.Width, "  ", red, name, "not tried: "+explain(s.Err).text[0])
			for _, l := range explain(s.Err).text[1:] {
				p.line("    ", plain, l)
			}
			if hint := explain(s.Err).hint; hint != "" {
				under("hint", hint)
			}
		case s.Up:
			p.folded(v.o.Width, "  ", plain, name, fmt.Sprintf("up in %s, %s === %s", seconds(s.Took), strings.Join(s.Tunnel.Local, " "), strings.Join(s.Tunnel.Remote, " ")))
		default:
			p.folded(v.o.Width, "  ", red, name, "not up: "+s.Why.Says)
			if s.Why.Raw != "" {
				under("charon on "+r.logger(s), s.Why.Raw)
			}
			c := r.Causes[s.Name]
			for _, f := range c.From {
				under("from", f)
			}
			if c.Mend != "" {
				under("mend", c.Mend)
			}
		}
		if len(s.Ties) > 0 {
			p.folded(v.o.Width, "    ", yellow, "warning: ", tied(r.Name, s))
		}
		if s.Unread != nil && s.Err == nil {
			under("not looked at", oneLine(s.Unread.Error())+"; its twin had what the inventory says")
		}
	}
	p.WriteString("\n")
	if n.untried < n.sites {
		p.folded(v.o.Width, "", plain, "", notProved)
	}
	p.line("", bold, n.line())
	return p
}

func (r *Rehearsal) ties() int {
	n := 0
	for _, s := range r.Sites {
		n += len(s.Ties)
	}
	return n
}

// tied says that other conns fit a site's call, too.
func tied(hub string, s engine.SiteRehearsal) string {
	return fmt.Sprintf("on %s %s fits this call just as well: which conn answers is a matter of the order in which they were loaded", hub, strings.Join(s.Ties, ", "))
}

// logger returns the host whose twin has logged why a tunnel is not up.
func (r *Rehearsal) logger(s engine.SiteRehearsal) string {
	if s.Why.AtHub {
		return r.Name
	}
	return s.Name
}

// The document of a rehearsal.
type (
	rehearsalDocument struct {
		head
		Hub     jsonStage        `json:"hub"`
		Sites   []jsonTwin       `json:"sites"`
		Summary rehearsalSummary `json:"summary"`
	}
	jsonStage struct {
		Name       string   `json:"name"`
		Result     string   `json:"result"`
		Error      string   `json:"error"`
		StrongSwan string   `json:"strongswan"`
		IPsec      string   `json:"ipsec"` // "kernel", "user space"
		NAT        bool     `json:"nat"`
		Blocked    []string `json:"blocked"`
		Beside     []string `json:"beside"`
	}
	jsonTwin struct {
		Name        string   `json:"name"`
		Result      string   `json:"result"` // "up", "not up", "not tried"
		Error       string   `json:"error"`
		Read        bool     `json:"read"`
		Seconds     float64  `json:"seconds"`
		HubSubnets  []string `json:"hub_subnets"`
		SiteSubnets []string `json:"site_subnets"`
		About       string   `json:"about"`
		Why         string   `json:"why"`
		Charon      string   `json:"charon"`
		CharonOn    string   `json:"charon_on"`
		From        []string `json:"from"`
		Mend        string   `json:"mend"`
		Ties        []string `json:"ties"`
	}
	rehearsalSummary struct {
		Sites    int `json:"sites"`
		Up       int `json:"up"`
		NotUp    int `json:"not_up"`
		NotTried int `json:"not_tried"`
	}
)

func (v *View) rehearsalDocument(r *Rehearsal) rehearsalDocument {
	n := r.count()
	d := rehearsalDocument{head: heading("rehearse"), Sites: []jsonTwin{}, Summary: rehearsalSummary{n.sites, n.up, n.down, n.untried}}
	d.Hub = jsonStage{
		Name: v.text(r.Name), Result: string(r.Result), Error: v.errorText(r.Name, r.Err),
		StrongSwan: v.text(r.Version), IPsec: r.ipsec(), NAT: r.Version != "" && r.NoNAT == "", Blocked: []string{}, Beside: v.texts(r.Beside),
	}
	for _, c := range r.Unmade {
		d.Hub.Blocked = append(d.Hub.Blocked, v.text(c.Task+": "+c.Blocked))
	}
	for _, s := range r.Sites {
		c := r.Causes[s.Name]
		out := jsonTwin{
			Name: v.text(s.Name), Result: "not up", Error: v.errorText(s.Name, s.Err), Read: s.Unread == nil, Seconds: s.Took.Seconds(),
			HubSubnets: v.texts(s.Tunnel.Remote), SiteSubnets: v.texts(s.Tunnel.Local), From: v.texts(c.From), Mend: v.text(c.Mend), Ties: v.texts(s.Ties),
		}
		switch {
		case r.Err != nil || s.Err != nil:
			out.Result = "not tried"
		case s.Up:
			out.Result = "up"
		case s.Why != nil:
			out.About, out.Why, out.Charon = string(s.Why.About), v.text(s.Why.Says), v.text(s.Why.Raw)
			if s.Why.Raw != "" {
				out.CharonOn = v.text(r.logger(s))
			}
		}
		d.Sites = append(d.Sites, out)
	}
	return d
}
