package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// The program that transfers bytes: the server, of one address, sends or takes as
// many as the client asks for.
const transferServer = `use Socket; $SIG{CHLD} = "IGNORE";
socket(my $s, PF_INET, SOCK_STREAM, 6) or die; setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
bind($s, sockaddr_in(9998, inet_aton($ARGV[0]))) or die $!; listen($s, 20);
while (accept(my $c, $s)) {
    next if fork;
    my $ask = ""; while ($ask !~ /\n/) { sysread($c, $ask, 1, length $ask) or exit }
    my ($what, $n) = split " ", $ask;
    if ($what eq "down") { while ($n > 0) { my $k = syswrite($c, "x" x ($n < 65536 ? $n : 65536)) or exit; $n -= $k } }
    else { while ($n > 0) { my $k = sysread($c, my $b, 65536) or exit; $n -= $k } syswrite($c, "done") }
    exit;
}`

// The client prints whether all of it went through in the time that it is given.
const transferClient = `use Socket; my ($to, $what, $n, $limit) = @ARGV;
$SIG{ALRM} = sub { print "stalled\n"; exit }; alarm $limit;
socket(my $c, PF_INET, SOCK_STREAM, 6) or die; connect($c, sockaddr_in(9998, inet_aton($to))) or die "connect: $!";
syswrite($c, "$what $n\n");
if ($what eq "down") { while ($n > 0) { my $k = sysread($c, my $b, 65536) or die "lost"; $n -= $k } }
else { while ($n > 0) { my $k = syswrite($c, "x" x ($n < 65536 ? $n : 65536)) or die "lost"; $n -= $k } sysread($c, my $b, 4) or die "lost" }
print "done\n";`

// Lines of 1454 and 1438 bytes, as they are common in Japan, behind routers that tell
// nobody: with the default tunnel.mss what a tunnel carries gets through, from LAN to
// LAN and of the boxes themselves, in both directions. With 1360, or with none, it
// stalls at the first full segment.
func TestE2EMSS(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}, {Name: "osaka", Place: "2", Layer: b.layer},
	}})
	lans(t, l)
	l.Narrow(1, 1454)
	l.Narrow(2, 1438)
	for at, ip := range map[place]string{hubItself: "10.10.0.1", hubLAN: "10.10.0.5"} {
		at.must(t, l, fmt.Sprintf("setsid perl -e '%s' %s >/dev/null 2>&1 </dev/null &", transferServer, ip))
	}
	transfer := func(name, want string, n int, limit time.Duration) {
		t.Helper()
		var wg sync.WaitGroup
		for from, to := range map[place]string{tokyoLAN: "10.10.0.5", osakaLAN: "10.10.0.5", tokyo: "10.10.0.1", osaka: "10.10.0.1"} {
			for _, what := range []string{"up", "down"} {
				wg.Go(func() {
					n := n
					if from.host != "" {
						n /= 10 // the boxes' own
					}
					out, err := from.in(l, "perl", "-e", transferClient, to, what, fmt.Sprint(n), fmt.Sprint(int(limit.Seconds()))).Output()
					if got := strings.TrimSpace(string(out)); got != want {
						t.Errorf("%s: %d bytes %s from %s: %q (%v), want %q", name, n, what, from, got, err, want)
					}
				})
			}
		}
		wg.Wait()
	}
	const tunnels = labHub + labTokyo + labOsaka + "[tunnel]\n"
	for _, mss := range []string{"1360", `"off"`} {
		b.write(t, l, tunnels, "mss = ", mss, "\n")
		vpnpush(t, l, 0, "apply", "--yes")
		transfer("mss "+mss, "stalled", 1_000_000, 5*time.Second)
	}
	if out := l.MustRun("vps", "iptables-save", "-t", "mangle"); strings.Contains(out, "MSS") {
		t.Errorf("tunnel.mss is off, and its chain is there:\n%s", out)
	}
	b.write(t, l, tunnels)
	vpnpush(t, l, 0, "apply", "--yes")
	transfer("the default", "done", 10_000_000, 4*time.Minute)
}
