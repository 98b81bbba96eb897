package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// realNow is the time of the machine: a bubble of synctest has another.
func realNow() time.Time {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &ts)
	return time.Unix(ts.Unix())
}

// tool does what a program does for the arguments that the scripts have, and returns its
// exit status.
type tool func(h *livesHost, s *stdio, args []string) int

// played are the programs that this process plays.
var played map[string]tool

func init() { // it is used by what it holds
	done := func(*livesHost, *stdio, []string) int { return 0 }
	prints := func(text string) tool {
		return func(_ *livesHost, s *stdio, _ []string) int { io.WriteString(s, text); return 0 }
	}
	played = map[string]tool{
		"true": done, "sync": done, "flock": done, "sleep": done, "kill": done, "journalctl": done, "find": done, "modprobe": done,
		"reserve": prints("reserved\n"), "id": prints("0\n"), "dpkg": prints("amd64\n"),
		"df":    prints("Filesystem 1024-blocks Used Available Capacity Mounted\n/dev/vda 10000000 1000000 9000000 10% /\n"),
		"du":    prints("8\t/\n"),
		"mkdir": toolMkdir, "mktemp": toolMktemp, "chmod": toolChmod, "chown": toolChown, "mv": toolMv, "rm": toolRm, "rmdir": toolRmdir,
		"cp": toolCp, "stat": toolStat, "cmp": toolCmp, "cat": toolCat, "sha256sum": toolSum, "tail": toolTail, "wc": toolWc,
		"date": toolDate, "readlink": toolReadlink, "tar": toolTar, "ip": toolIP, "unshare": toolUnshare,
		"dpkg-query": toolDpkgQuery, "apt-cache": toolAptCache, "apt-get": toolUnknown("apt-get"),
		"systemctl": toolSystemctl, "systemd-run": toolSystemdRun, "ipsec": toolIPsec, "swanctl": toolSwanctl,
		"iptables-save": toolIPTablesSave, "iptables-restore": toolIPTablesRestore,
	}
}

func toolUnknown(name string) tool {
	return func(h *livesHost, s *stdio, args []string) int {
		h.w.fault("%s: the scripts call %s %q, which is not played", h.name, name, args)
		return s.say("%s: not played", name)
	}
}

// words splits arguments into options and the others.
func toolWords(args []string) (options string, rest []string) {
	for i, a := range args {
		if a == "--" {
			return options, append(rest, args[i+1:]...)
		}
		if len(a) > 1 && a[0] == '-' {
			options += a[1:]
		} else {
			rest = append(rest, a)
		}
	}
	return options, rest
}

// each runs do on paths of the host, and tells what failed.
func (h *livesHost) each(s *stdio, name string, paths []string, do func(path string) error) int {
	status := 0
	for _, p := range paths {
		if err := do(h.path(p)); err != nil {
			status = s.say("%s: %s: %v", name, p, errors.Unwrap(err))
		}
	}
	return status
}

func toolMkdir(h *livesHost, s *stdio, args []string) int {
	options, paths := toolWords(args)
	mode := 0o777 &^ s.umask()
	return h.each(s, "mkdir", paths, func(p string) error {
		if options != "p" {
			if err := os.Mkdir(p, 0o700); err != nil {
				return err
			}
			return os.Chmod(p, mode)
		}
		var missing []string
		for d := p; ; d = filepath.Dir(d) {
			if _, err := os.Stat(d); err == nil {
				break
			}
			missing = append(missing, d)
		}
		for _, d := range slices.Backward(missing) {
			if err := errors.Join(os.Mkdir(d, 0o700), os.Chmod(d, mode)); err != nil {
				return err
			}
		}
		return nil
	})
}

func toolMktemp(h *livesHost, s *stdio, args []string) int {
	_, paths := toolWords(args)
	base, ok := strings.CutSuffix(paths[0], "XXXXXX")
	if !ok {
		return s.say("mktemp: %q", args)
	}
	h.mu.Lock()
	h.temps++
	name := fmt.Sprintf("%s%06d", base, h.temps)
	h.mu.Unlock()
	f, err := os.OpenFile(h.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return s.say("mktemp: %v", err)
	}
	f.Close()
	fmt.Fprintln(s, name)
	return 0
}

func toolChmod(h *livesHost, s *stdio, args []string) int {
	_, words := toolWords(args)
	mode, err := strconv.ParseUint(words[0], 8, 32)
	if err != nil {
		return s.say("chmod: %v", err)
	}
	return h.each(s, "chmod", words[1:], func(p string) error { return unix.Chmod(p, uint32(mode)) })
}

func toolChown(h *livesHost, s *stdio, args []string) int {
	_, words := toolWords(args)
	if words[0] != "root:root" && words[0] != "0:0" {
		return s.say("chown: %q", args)
	}
	return h.each(s, "chown", words[1:], func(p string) error { return os.Lchown(p, 0, 0) })
}

func toolMv(h *livesHost, s *stdio, args []string) int {
	_, words := toolWords(args)
	if len(words) != 2 {
		return s.say("mv: %q", args)
	}
	return h.each(s, "mv", words[:1], func(p string) error { return os.Rename(p, h.path(words[1])) })
}

func toolRm(h *livesHost, s *stdio, args []string) int {
	options, paths := toolWords(args)
	return h.each(s, "rm", paths, func(p string) error {
		if strings.Contains(options, "r") {
			return os.RemoveAll(p)
		}
		if err := unix.Unlink(p); err != nil && (err != unix.ENOENT || !strings.Contains(options, "f")) {
			return &os.PathError{Op: "rm", Path: p, Err: err}
		}
		return nil
	})
}

func toolRmdir(h *livesHost, s *stdio, args []string) int {
	_, paths := toolWords(args)
	return h.each(s, "rmdir", paths, func(p string) error {
		if err := unix.Rmdir(p); err != nil {
			return &os.PathError{Op: "rmdir", Path: p, Err: err}
		}
		return nil
	})
}

func toolCp(h *livesHost, s *stdio, args []string) int {
	options, words := toolWords(args)
	if options != "a" || len(words) != 2 {
		return s.say("cp: %q", args)
	}
	return h.each(s, "cp", words[:1], func(from string) error {
		to := h.path(words[1])
		i, err := os.Lstat(from)
		if err != nil {
			return err
		}
		if i.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink(from)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			return err
		}
		st := i.Sys().(*syscall.Stat_t)
		if err := errors.Join(os.Chown(to, int(st.Uid), int(st.Gid)), unix.Chmod(to, st.Mode&0o7777), os.Chtimes(to, time.Time{}, i.ModTime())); err != nil {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
}

func toolStat(h *livesHost, s *stdio, args []string) int {
	_, words := toolWords(args)
	format := words[0]
	return h.each(s, "stat", words[1:], func(p string) error {
		i, err := os.Lstat(p)
		if err != nil {
			return err
		}
		st := i.Sys().(*syscall.Stat_t)
		fmt.Fprintln(s, strings.NewReplacer("%a", fmt.Sprintf("%o", st.Mode&0o7777), "%u", strconv.Itoa(int(st.Uid)), "%g", strconv.Itoa(int(st.Gid)),
			"%Y", strconv.FormatInt(i.ModTime().Unix(), 10)).Replace(format))
		return nil
	})
}

func toolCmp(h *livesHost, s *stdio, args []string) int {
	_, words := toolWords(args)
	a, err := os.ReadFile(h.path(words[0]))
	b, err2 := os.ReadFile(h.path(words[1]))
	if err != nil || err2 != nil {
		return 2
	}
	if !bytes.Equal(a, b) {
		return 1
	}
	return 0
}

func toolCat(h *livesHost, s *stdio, args []string) int {
	_, paths := toolWords(args)
	return h.each(s, "cat", paths, func(p string) error {
		b, err := os.ReadFile(p)
		if err == nil {
			_, err = s.Write(b)
		}
		return err
	})
}

func toolSum(_ *livesHost, s *stdio, _ []string) int {
	b, err := io.ReadAll(s)
	if err != nil {
		return s.say("sha256sum: %v", err)
	}
	fmt.Fprintf(s, "%x  -\n", sha256.Sum256(b))
	return 0
}

// toolTail is tail -c N FILE and tail -n N FILE.
func toolTail(h *livesHost, s *stdio, args []string) int {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--" })
	if len(args) != 3 {
		return s.say("tail: %q", args)
	}
	n, _ := strconv.Atoi(args[1])
	return h.each(s, "tail", args[2:], func(p string) error {
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		from := max(0, len(b)-n)
		if args[0] == "-n" {
			for from = len(b); n > 0 && from > 0; n-- {
				from = bytes.LastIndexByte(b[:from-1], '\n') + 1
			}
		}
		_, err = s.Write(b[from:])
		return err
	})
}

func toolWc(_ *livesHost, s *stdio, _ []string) int {
	b, _ := io.ReadAll(s)
	fmt.Fprintln(s, bytes.Count(b, []byte("\n")))
	return 0
}

func toolDate(h *livesHost, s *stdio, args []string) int {
	if args[len(args)-1] == "+%s" {
		fmt.Fprintln(s, realNow().Unix())
	} else {
		fmt.Fprintln(s, realNow().UTC().Format("2006-01-02T15:04:05Z"))
	}
	return 0
}

func toolReadlink(h *livesHost, s *stdio, args []string) int {
	path := args[len(args)-1]
	if _, err := os.Stat(h.path(path)); err != nil {
		return 1
	}
	fmt.Fprintln(s, path)
	return 0
}

func toolTar(h *livesHost, s *stdio, _ []string) int {
	var paths []string
	in := bufio.NewScanner(s)
	for in.Scan() {
		paths = append(paths, in.Text())
	}
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	for _, p := range paths {
		i, err := os.Lstat(h.path(p))
		if err != nil {
			return s.say("tar: %v", err)
		}
		link := ""
		if i.Mode()&os.ModeSymlink != 0 {
			link, _ = os.Readlink(h.path(p))
		}
		head, err := tar.FileInfoHeader(i, link)
		if err != nil {
			return s.say("tar: %v", err)
		}
		head.Name, head.Uname, head.Gname, head.Format = p, "root", "root", tar.FormatGNU
		head.AccessTime, head.ChangeTime, head.ModTime = time.Time{}, time.Time{}, head.ModTime.Truncate(time.Second)
		if err := t.WriteHeader(head); err != nil {
			return s.say("tar: %v", err)
		}
		if i.Mode().IsRegular() {
			b, err := os.ReadFile(h.path(p))
			if err != nil {
				return s.say("tar: %v", err)
			}
			t.Write(b)
		}
	}
	t.Close()
	s.Write(out.Bytes())
	return 0
}

func toolIP(h *livesHost, s *stdio, args []string) int {
	switch strings.Join(args, " ") {
	case "-o -4 addr show":
		fmt.Fprintf(s, "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet %s/24 scope global eth0\n", h.address)
	case "-o -4 route show table main":
	case "-j -s addr show":
		fmt.Fprintln(s, "[]")
	default:
		return toolUnknown("ip")(h, s, args)
	}
	return 0
}

// toolUnshare is a trial that finds nothing.
func toolUnshare(_ *livesHost, s *stdio, _ []string) int {
	fmt.Fprintln(s, "good")
	return 0
}

var livesPackages = map[string]string{
	"libstrongswan": "5.9.8-5+deb12u6", "strongswan-starter": "5.9.8-5+deb12u6", "strongswan-charon": "5.9.8-5+deb12u6", "libstrongswan-standard-plugins": "5.9.8-5+deb12u6",
	"iptables": "1.8.9-2", "iptables-persistent": "1.0.20", "ppp": "2.4.9-1+1.1", "xl2tpd": "1.3.18-1",
}

func toolDpkgQuery(h *livesHost, s *stdio, args []string) int {
	status := 0
	for _, p := range args[3-1:] {
		if strings.HasPrefix(p, "-") || strings.Contains(p, "$") {
			continue
		}
		v := livesPackages[p]
		if v == "" {
			status = 1
			continue
		}
		fmt.Fprintf(s, "%s\tinstalled\t%s\n\n\n", p, v)
	}
	return status
}

func toolAptCache(h *livesHost, s *stdio, args []string) int {
	for _, p := range args[1:] {
		fmt.Fprintf(s, "%[1]s:\n  Installed: (none)\n  Candidate: %[2]s\n  Version table:\n     %[2]s 500\n", p, "5.9.8-5+deb12u6")
	}
	return 0
}

func inode(i os.FileInfo) uint64 { return i.Sys().(*syscall.Stat_t).Ino }
