package netmap

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
)

// DOT writes the network for Graphviz (graphviz.org/doc/info/lang.html).
func DOT(n Network) []byte {
	var b bytes.Buffer
	b.WriteString("graph vpn {\n\trankdir=TB\n\tnode [shape=box style=rounded fontname=sans]\n")
	q := func(lines ...string) string {
		for i, l := range lines {
			lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(l)
		}
		return `"` + strings.Join(lines, `\n`) + `"`
	}
	fmt.Fprintf(&b, "\thub [label=%s style=\"rounded,bold\"]\n", q(label(n.Hub.Name, n.Hub.Address, n.Hub.Subnets)...))
	for i, s := range n.drawn() {
		ink, _ := colours(s.State)
		edge := "color=" + q(ink)
		if s.State != NotAsked {
			edge += " label=" + q(string(s.State))
		}
		fmt.Fprintf(&b, "\tsite%d [label=%s]\n\thub -- site%d [%s]\n", i, q(label(s.Name, "", s.Subnets)...), i, edge)
	}
	if left := n.leftOut(); left != "" {
		fmt.Fprintf(&b, "\tmore [label=%s style=dashed]\n\thub -- more [style=dashed]\n", q(left))
	}
	if n.L2TP != nil {
		fmt.Fprintf(&b, "\tusers [label=%s]\n\thub -- users [style=dashed label=\"L2TP/IPsec\"]\n", q(n.L2TP.lines()...))
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// Mermaid writes the network as a Mermaid flowchart (mermaid.js.org), which
// GitHub and GitLab draw in Markdown.
func Mermaid(n Network) []byte {
	var b bytes.Buffer
	b.WriteString("flowchart TB\n")
	q := func(lines ...string) string {
		for i, l := range lines {
			// entities by number: a name may hold what Mermaid takes for markup
			lines[i] = strings.NewReplacer("#", "#35;", `"`, "#34;", "&", "#38;", "<", "#60;", ">", "#62;", "`", "#96;", "\n", " ").Replace(l)
		}
		return `"` + strings.Join(lines, "<br/>") + `"`
	}
	fmt.Fprintf(&b, "\thub[%s]\n", q(label(n.Hub.Name, n.Hub.Address, n.Hub.Subnets)...))
	for i, s := range n.drawn() {
		edge := "---"
		if s.State != NotAsked {
			edge = "---|" + string(s.State) + "|"
		}
		fmt.Fprintf(&b, "\thub %s site%d[%s]\n", edge, i, q(label(s.Name, "", s.Subnets)...))
		if s.State != NotAsked {
			ink, ground := colours(s.State)
			fmt.Fprintf(&b, "\tstyle site%d fill:%s,stroke:%s,color:#0f172a\n", i, ground, ink)
		}
	}
	if left := n.leftOut(); left != "" {
		fmt.Fprintf(&b, "\thub -.- more[%s]\n", q(left))
	}
	if n.L2TP != nil {
		fmt.Fprintf(&b, "\thub -.-|\"L2TP/IPsec\"| users([%s])\n", q(n.L2TP.lines()...))
	}
	return b.Bytes()
}

func label(name, address string, subnets []string) []string {
	out := []string{name}
	if address != "" {
		out = append(out, address)
	}
	for _, s := range subnets {
		if s != address+"/32" {
			out = append(out, s)
		}
	}
	return out
}

func (l *L2TP) lines() []string {
	out := []string{words.Count(len(l.Users), "user"), l.Pool}
	for _, u := range l.Users {
		out = append(out, strings.TrimSpace(u.Name+"  "+u.Address))
	}
	return out
}
