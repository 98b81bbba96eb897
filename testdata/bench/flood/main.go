// Flood sends UDP datagrams of 100 bytes, one to each of the addresses on its standard
// input in turn, and prints the seconds of processor that one cost in microseconds. What
// a packet costs that is forwarded between namespaces of one machine is in it: the kernel
// does that work where the sender waits.
//
//	flood COUNT SOURCE <ADDRESSES
package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := flood(); err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
		os.Exit(1)
	}
}

func flood() error {
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	var to []syscall.Sockaddr
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		a, err := netip.ParseAddr(lines.Text())
		if err != nil {
			return err
		}
		to = append(to, &syscall.SockaddrInet4{Addr: a.As4(), Port: 9})
	}
	runtime.LockOSThread()
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	from, err := netip.ParseAddr(os.Args[2])
	if err != nil {
		return err
	}
	if err := syscall.Bind(s, &syscall.SockaddrInet4{Addr: from.As4()}); err != nil {
		return err
	}
	b := make([]byte, 100)
	send := func(n int) error {
		for i := range n {
			if err := syscall.Sendto(s, b, 0, to[i%len(to)]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := send(2 * len(to)); err != nil { // the first of a flow costs more
		return err
	}
	before := used()
	if err := send(count); err != nil {
		return err
	}
	fmt.Printf("%.3f\n", float64((used()-before).Microseconds())/float64(count))
	return nil
}

// used returns the processor time of this process.
func used() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
