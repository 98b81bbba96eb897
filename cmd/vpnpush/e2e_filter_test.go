package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// filterNet is the network of the table in docs/what-lands.md: a LAN behind the hub,
// two sites, and two L2TP clients.
func filterNet(relay, masquerade bool, reach ...string) string {
	return fmt.Sprintf(`
id = "lab"
[tunnel]
relay = %t
[hub]
name = "vps"
address = "203.0.113.10"
subnets = ["203.0.113.10/32", "10.10.0.0/24"]
[firewall]
masquerade = %t
[l2tp]
psk = "l2tp-canary-0123456789abcdef"
pool = "192.168.200.2-192.168.200.32"
local_ip = "192.168.200.1"
reach = ["%s"]
[l2tp.users.alice]
password = "alice-canary"
address = "192.168.200.10"
[l2tp.users.bob]
password = "bob-canary"
address = "192.168.200.20"
`, relay, masquerade, strings.Join(reach, `", "`)) + labTokyo + labOsaka
}

// A place is where a datagram is sent from or arrives: a host of the lab, or a
// network namespace on one, for a machine that stands in a LAN.
type place struct {
	host  string // "" is the operator's end, with the internet on it
	netns string
}

var (
	hubItself   = place{host: "vps"}
	hubLAN      = place{"vps", "lan"}
	tokyo       = place{host: "tokyo"}
	tokyoLAN    = place{netns: "pc1"}
	osaka       = place{host: "osaka"}
	osakaLAN    = place{netns: "pc2"}
	alice       = place{host: "laptop"}
	strangerBob = place{host: "eve"} // on the hub's wire, and bob's laptop as well
	internet    = place{}
)

func (p place) String() string { return strings.TrimSpace(p.host + " " + p.netns) }

// in returns a command as it is run at a place.
func (p place) in(l *lab.Lab, argv ...string) *exec.Cmd {
	if p.netns != "" {
		argv = append([]string{"ip", "netns", "exec", p.netns}, argv...)
	}
	args := []string{l.Dir}
	if p.host != "" {
		args = append(args, "@"+p.host)
	}
	cmd := exec.Command("../../testdata/lab/in.sh", append(args, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (p place) must(t *testing.T, l *lab.Lab, script string) string {
	t.Helper()
	cmd := p.in(l, "sh", "-c", script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s%s", p, script, err, out, &stderr)
	}
	return string(out)
}

// lans puts a machine into the LAN of the hub, and one into those of tokyo and osaka.
func lans(t *testing.T, l *lab.Lab) {
	t.Helper()
	hubItself.must(t, l, `ip addr del 10.10.0.1/32 dev lo
ip netns add lan; ip link add lan0 type veth peer name eth0 netns lan
ip addr add 10.10.0.1/24 dev lan0; ip link set lan0 up
ip -n lan addr add 10.10.0.5/24 dev eth0; ip -n lan link set eth0 up; ip -n lan link set lo up
ip -n lan route add default via 10.10.0.1`)
	internet.must(t, l, `for n in 1 2; do
    ip netns add pc$n; ip link add v-pc$n type veth peer name eth0 netns pc$n
    ip link set v-pc$n master br-lan$n up
    ip -n pc$n addr add 192.168.$n.77/24 dev eth0; ip -n pc$n link set eth0 up; ip -n pc$n link set lo up
    ip -n pc$n route add default via 192.168.$n.10
done`)
}

// address is one to send to, and where it is.
type address struct {
	ip string
	at place
}

// columns are whom the table names, and the addresses there.
var columns = map[string][]address{
	"the hub itself":       {{"203.0.113.10", hubItself}},
	"the hub's LAN":        {{"10.10.0.5", hubLAN}},
	"a site's box":         {{"192.168.1.10", tokyo}, {"192.168.2.10", osaka}},
	"a site's LAN":         {{"192.168.1.77", tokyoLAN}, {"192.168.2.77", osakaLAN}},
	"an L2TP client":       {{"192.168.200.10", alice}, {"192.168.200.20", strangerBob}},
	"the internet":         {{"198.51.100.9", internet}},
	"link-local addresses": {{"169.254.169.254", internet}},
}

// sender is one who sends: from where, with which source addresses, by which
// interface; where a field is empty, what the host itself would take.
type sender struct {
	at      place
	sources []string
	dev     string
	spoofs  bool
	own     string // the address that is behind it, for l2tp.reach
}

// rows are who the table names.
var rows = map[string]sender{
	"a site's LAN":                               {at: tokyoLAN, own: "192.168.1.77"},
	"a site's box itself":                        {at: tokyo, own: "192.168.1.10"},
	"the hub's LAN":                              {at: hubLAN, own: "10.10.0.5"},
	"the hub itself":                             {at: hubItself},
	"an L2TP client":                             {at: alice, sources: []string{"192.168.200.10"}, dev: "ppp0"},
	"a stranger on the hub's wire":               {at: strangerBob, sources: []string{"203.0.113.101"}},
	"… with an address of the hub's LAN":         {at: strangerBob, sources: []string{"10.10.0.78"}, spoofs: true},
	"… with a site's address":                    {at: strangerBob, sources: []string{"192.168.1.78"}, spoofs: true},
	"… with a client's address":                  {at: strangerBob, sources: []string{"192.168.200.10", "192.168.200.25"}, spoofs: true},
	"an L2TP client with an address not its own": {at: alice, sources: []string{"10.10.0.78", "192.168.1.78", "192.168.2.78", "192.168.200.20", "192.168.200.25", "203.0.113.50", "10.99.99.99"}, dev: "ppp0", spoofs: true},
	"a site with an address not its own":         {at: tokyo, sources: []string{"10.10.0.78", "192.168.2.78", "192.168.200.10", "10.99.99.99"}, spoofs: true},
}

// state is what the table's words depend on.
type state struct {
	relay, masquerade bool
	reach             []string
	up                bool // tokyo's tunnel; osaka's is
	open              bool // the policies of INPUT and FORWARD are ACCEPT, not DROP
	many              bool // there are so many sites that the rules are in trees
}

// expect says what a cell's word means in a state: whether a datagram arrives. known
// is false where the host's own filter decides that has no word in it.
func (s state) expect(t *testing.T, word string, from sender, to address) (arrives, known bool) {
	t.Helper()
	up, down, both := strings.Cut(word, "; down: ")
	tokyoIn := from.own == "192.168.1.77" || from.own == "192.168.1.10" || from.at == tokyo || to.at == tokyo || to.at == tokyoLAN ||
		slices.Equal(from.sources, []string{"192.168.1.78"})
	isUp := s.up || !tokyoIn
	if both && !isUp {
		up, isUp = down, true
	}
	switch up {
	case "no":
		return false, true
	case "host":
		// what it sends itself, and what it does not forward, no policy here holds up
		if !s.open && (from.at == hubItself || from.at == tokyo) {
			return false, false
		}
		return s.open, true
	case "tunnel":
		return isUp, true
	case "relay":
		return isUp && s.relay, true
	case "reach":
		named := to.ip
		if from.own != "" {
			named = from.own
		}
		return isUp && s.names(named), true
	case "masquerade":
		return s.masquerade, true
	}
	t.Fatalf("the table has a word that this test does not know: %q", up)
	return false, false
}

// keeps reports whether what is sent, and may not arrive, is to be kept off the wire.
func (s state) keeps(word string, from sender) bool {
	switch {
	case from.at == strangerBob: // it is there to begin with
		return false
	case strings.Contains(word, "host"), word == "masquerade":
		return false
	case from.at != tokyo && from.at != tokyoLAN || from.spoofs:
		return true
	case word == "relay":
		return s.relay
	case word == "reach":
		return s.names(from.own)
	}
	return true
}

// names reports whether l2tp.reach has an address.
func (s state) names(ip string) bool {
	return slices.ContainsFunc(s.reach, func(r string) bool { return netip.MustParsePrefix(r).Contains(netip.MustParseAddr(ip)) })
}

// The program that waits for datagrams: it prints who sent what, and sends it back
// from the address that it was sent to.
const receive = `use Socket; $| = 1; my (%s, $r); $r = "";
for my $a (@ARGV) {
    socket(my $s, PF_INET, SOCK_DGRAM, 17) or die;
    bind($s, sockaddr_in(9999, inet_aton($a))) or die "$a: $!";
    vec($r, fileno($s), 1) = 1; $s{fileno $s} = $s;
}
while (1) {
    next unless select(my $w = $r, undef, undef, undef) > 0;
    for (keys %s) {
        next unless vec($w, $_, 1);
        my $p = recv($s{$_}, my $b, 200, 0) or next;
        my ($port, $ip) = sockaddr_in($p);
        print inet_ntoa($ip), " $b\n"; send($s{$_}, $b, 0, $p);
    }
}`

// The program that sends datagrams, twice each, told by lines of a name, an address
// to send from, one to send to, and an interface. It prints the names of those that
// were answered. 19 is IP_TRANSPARENT, which lets it send from any address, and 25 is
// SO_BINDTODEVICE.
const send = `use Socket; my (%s, %to, %n, $r); $r = "";
while (<STDIN>) {
    my ($id, $from, $to, $dev) = split;
    socket(my $s, PF_INET, SOCK_DGRAM, 17) or die;
    setsockopt($s, 0, 19, 1) or die;
    setsockopt($s, SOL_SOCKET, 25, $dev) or die "$dev: $!" if $dev ne "-";
    bind($s, sockaddr_in(0, inet_aton($from))) or die "$from: $!" if $from ne "-";
    my $f = fileno($s); vec($r, $f, 1) = 1;
    $s{$f} = $s; $to{$f} = sockaddr_in(9999, inet_aton($to)); $n{$f} = $id;
}
for (1 .. 2) { for (keys %s) { send($s{$_}, "datagram-$n{$_};", 0, $to{$_}) } select(undef, undef, undef, 0.4) }
my $end = time + 2; my %got;
while (time < $end) {
    next unless select(my $w = $r, undef, undef, 0.2) > 0;
    for (keys %s) { if (vec($w, $_, 1)) { recv($s{$_}, my $b, 200, 0); $got{$n{$_}} = 1 } }
}
print "$_\n" for keys %got;`

// policyTable reads the table of who may reach whom out of the document.
func policyTable(t *testing.T) map[string]map[string]string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/what-lands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "\n| from \\ to |")
	if !found {
		t.Fatal("docs/what-lands.md has no table of who may reach whom")
	}
	text, _, _ = strings.Cut("| from \\ to |"+text, "\n\n")
	cells := func(line string) []string {
		var out []string
		for c := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			out = append(out, strings.TrimSpace(c))
		}
		return out
	}
	lines := strings.Split(text, "\n")
	head := cells(lines[0])[1:]
	table := map[string]map[string]string{}
	for _, l := range lines[2:] {
		c := cells(l)
		table[c[0]] = map[string]string{}
		for i, col := range head {
			table[c[0]][col] = c[i+1]
		}
	}
	if d := diffNames(slices.Collect(maps.Keys(rows)), slices.Collect(maps.Keys(table))); d != "" {
		t.Errorf("rows: %s", d)
	}
	if d := diffNames(slices.Collect(maps.Keys(columns)), head); d != "" {
		t.Errorf("columns: %s", d)
	}
	return table
}

func diffNames(test, doc []string) string {
	slices.Sort(test)
	slices.Sort(doc)
	if slices.Equal(test, doc) {
		return ""
	}
	return fmt.Sprintf("the test has %q, the document has %q", test, doc)
}

// TestPolicyTable keeps the document's table and the lab's test of it together where
// there is no lab: the test tries each cell that the document has, and no other.
func TestPolicyTable(t *testing.T) {
	s := state{relay: true, masquerade: true, up: true, open: true}
	for row, cells := range policyTable(t) {
		for col, word := range cells {
			if word == "–" {
				continue
			}
			for _, to := range columns[col] {
				s.expect(t, word, rows[row], to)
			}
		}
	}
}

// Every cell of the table in docs/what-lands.md, on kernels of their own: what is let
// through arrives and is answered, what is not does not arrive and is not seen on the
// wire either, whether the host's own policy is ACCEPT or DROP.
func TestE2EPolicyTable(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	table := policyTable(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}, {Name: "osaka", Place: "2", Layer: b.layer},
		{Name: "laptop", Place: "3", Layer: "starter"}, {Name: "eve", Place: "e1", Layer: "starter"},
	}})
	lans(t, l)
	internet.must(t, l, "ip addr add 198.51.100.9/32 dev lo; ip addr add 169.254.169.254/32 dev lo")
	strangerBob.must(t, l, `for n in 192.168.0.0/16 10.10.0.0/24 198.51.100.0/24 169.254.0.0/16; do ip route add $n via 203.0.113.10; done`)

	b.write(t, l, filterNet(true, true, "203.0.113.10/32", "10.10.0.0/24", "192.168.1.0/24"))
	vpnpush(t, l, 0, "apply", "--yes")
	var dialling sync.WaitGroup
	for host, user := range map[string]string{"laptop": "alice", "eve": "bob"} {
		dialling.Go(func() {
			since := strings.TrimSpace(l.MustRun(host, "date", "+%s"))
			out, _ := l.Run(host, "sh", "-c", dial, "sh", user, user+"-canary", since)
			if !strings.HasPrefix(out, "192.168.200.") {
				t.Errorf("%s got no session: %s", user, out)
				return
			}
			// what has the address of the session goes through it
			l.MustRun(host, "ip", "rule", "add", "from", strings.TrimSpace(out), "lookup", "100")
			l.Wait(10*time.Second, host+"'s link is up", func() bool {
				_, code := l.Run(host, "sh", "-c", "ip route replace default dev ppp0 table 100 2>/dev/null")
				return code == 0
			})
		})
	}
	dialling.Wait()
	if t.Failed() {
		t.FailNow()
	}

	// who waits for datagrams, on each of its addresses
	waits := map[place][]string{}
	for _, as := range columns {
		for _, a := range as {
			waits[a.at] = append(waits[a.at], a.ip)
		}
	}
	logs := map[place]string{}
	for at, ips := range waits {
		logs[at] = "/tmp/got-" + at.netns
		if at.host == "" {
			logs[at] = l.Dir + "/got-" + at.netns
		}
		at.must(t, l, fmt.Sprintf("setsid perl -e '%s' %s >%s 2>&1 </dev/null & sleep 0.3", receive, strings.Join(ips, " "), logs[at]))
	}
	ctx, cancel := context.WithCancel(context.Background())
	wire := l.Dir + "/wire"
	dump := exec.CommandContext(ctx, "../../testdata/lab/in.sh", l.Dir, "sh", "-c", "exec tcpdump -lnA -i br-wan udp port 9999 >"+wire+" 2>/dev/null")
	dump.SysProcAttr, dump.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, 2*time.Second
	dump.Cancel = func() error { return syscall.Kill(-dump.Process.Pid, syscall.SIGTERM) }
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = dump.Wait() }()

	n := 0
	try := func(name string, s state) {
		t.Helper()
		type datagram struct {
			row, col, word string
			from           sender
			source         string
			to             address
		}
		sent := map[string]datagram{}
		lines := map[place]string{}
		for row, from := range rows {
			if row == "a site with an address not its own" && !s.up {
				continue // it has no tunnel to send through
			}
			for col, tos := range columns {
				word := table[row][col]
				sources := from.sources
				if len(sources) == 0 {
					sources = []string{"-"}
				}
				for _, to := range tos {
					for _, source := range sources {
						if word == "–" || to.at == from.at || from.at == tokyoLAN && to.at == tokyo || from.at == tokyo && to.at == tokyoLAN || to.ip == source {
							continue
						}
						n++
						id := fmt.Sprint(n)
						sent[id] = datagram{row, col, word, from, source, to}
						dev := from.dev
						if dev == "" {
							dev = "-"
						}
						lines[from.at] += fmt.Sprintln(id, source, to.ip, dev)
					}
				}
			}
		}
		var mu sync.Mutex
		answered := map[string]bool{}
		var sending sync.WaitGroup
		for at, text := range lines {
			sending.Go(func() {
				cmd := at.in(l, "perl", "-e", send)
				cmd.Stdin = strings.NewReader(text)
				out, err := cmd.Output()
				if err != nil {
					t.Errorf("send from %s: %v", at, err)
				}
				mu.Lock()
				defer mu.Unlock()
				for id := range strings.FieldsSeq(string(out)) {
					answered[id] = true
				}
			})
		}
		sending.Wait()
		arrived := map[string]string{} // where from
		for at, log := range logs {
			for _, m := range regexp.MustCompile(`(?m)^(\S+) datagram-(\d+);$`).FindAllStringSubmatch(at.must(t, l, "cat "+log), -1) {
				if d := sent[m[2]]; d.to.at == at {
					arrived[m[2]] = m[1]
				}
			}
		}
		b, err := os.ReadFile(wire)
		if err != nil {
			t.Fatal(err)
		}
		clear := map[string]bool{}
		for _, m := range regexp.MustCompile(`datagram-(\d+);`).FindAllStringSubmatch(string(b), -1) {
			clear[m[1]] = true
		}
		for id, d := range sent {
			want, known := s.expect(t, d.word, d.from, d.to)
			what := fmt.Sprintf("%s: from %q (%s) to %q (%s), %q", name, d.row, d.source, d.col, d.to.ip, d.word)
			from, got := arrived[id]
			if known && got != want {
				t.Errorf("%s: arrived: %t", what, got)
			}
			if got && want && s.open && !d.from.spoofs && !strings.Contains(d.word, "host") && !answered[id] {
				t.Errorf("%s: no answer", what)
			}
			if clear[id] && s.keeps(d.word, d.from) {
				t.Errorf("%s: in the clear on the hub's wire", what)
			}
			if d.word == "masquerade" && got && from != "203.0.113.10" {
				t.Errorf("%s: with the source %s", what, from)
			}
		}
	}
	filters := func(policy string) {
		for _, at := range []place{hubItself, tokyo, osaka} {
			at.must(t, l, "iptables -C INPUT -p tcp --dport 22 -j ACCEPT 2>/dev/null || iptables -A INPUT -p tcp --dport 22 -j ACCEPT; iptables -P INPUT "+policy+"; iptables -P FORWARD "+policy)
		}
	}
	// a site's box that has been taken over sends what its own policies do not know
	stolen := func(verb, what string) {
		tokyo.must(t, l, `reqid=$(ip xfrm state | sed -n 's/.*proto esp.*reqid \([0-9]*\).*/\1/p' | head -n 1)
for src in `+strings.Join(rows["a site with an address not its own"].sources, " ")+`; do
    for dst in 203.0.113.10 10.10.0.5 192.168.2.10 192.168.2.77 192.168.200.10 192.168.200.20 198.51.100.9 169.254.169.254; do
        ip xfrm policy `+verb+` src $src/32 dst $dst/32 dir out `+what+`
    done
done`)
	}
	tunnel := func(up bool) {
		verb := "stop"
		if up {
			verb = "restart"
		}
		l.MustRun("tokyo", "systemctl", verb, b.unit)
		l.Wait(40*time.Second, "tokyo's tunnel is as it should be", func() bool {
			out, _ := l.Run("vps", "ip", "xfrm", "policy")
			return strings.Contains(out, "src 10.10.0.0/24 dst 192.168.1.0/24") == up
		})
	}

	for i, s := range []state{
		{relay: true, masquerade: true, reach: []string{"203.0.113.10/32", "10.10.0.0/24", "192.168.1.0/24"}},
		{reach: []string{"192.168.2.0/24"}},
		{relay: true, masquerade: true, reach: []string{"10.10.0.0/24", "192.168.1.0/24", "172.16.0.0/16"}, many: true},
	} {
		if i > 0 {
			var others strings.Builder
			for j := 0; s.many && j < 30; j++ {
				fmt.Fprintf(&others, "[sites.s%02d]\nsubnets = [\"172.16.%d.0/24\"]\npsk = \"canary-of-site-%02d-0123456789\"\n", j, 3*j, j)
			}
			b.write(t, l, filterNet(s.relay, s.masquerade, s.reach...), others.String())
			vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps,tokyo,osaka")
			if rules := l.MustRun("tokyo", "iptables-save"); strings.Contains(rules, "-j VPNPUSH-FWD-1\n") != s.many {
				t.Fatalf("many %t, but the rules are:\n%s", s.many, rules)
			}
			tunnel(true)
		}
		name := fmt.Sprintf("relay %t, masquerade %t, reach %s, many %t", s.relay, s.masquerade, s.reach, s.many)
		s.up, s.open = true, true
		stolen("add", `priority 1 tmpl src 192.168.1.10 dst 203.0.113.10 proto esp reqid "$reqid" mode tunnel`)
		try(name, s)
		s.open = false
		filters("DROP")
		try(name+", policy DROP", s)
		stolen("delete", "")
		filters("ACCEPT")
		tunnel(false)
		s.up, s.open = false, true
		try(name+", tunnel down", s)
	}
}
