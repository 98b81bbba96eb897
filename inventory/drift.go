package inventory

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// Ignore is a difference that drift is not to report for a while.
type Ignore struct {
	Host   string // a name, "hub" as the hub's name, or a glob as in path.Match
	Task   string // a task's ID as drift prints it, or a glob in which "*" also matches "/"
	Reason string
	Until  time.Time // the first moment at which it is reported again, local time
}

// ignores reads [[drift.ignore]] into inv.
func (r *reader) ignores(t *table, inv *Inventory) {
	defer t.done()
	v, ok := t.get("ignore")
	if !ok {
		return
	}
	var list []map[string]any
	switch v := v.(type) {
	case []map[string]any: // [[drift.ignore]]
		list = v
	case []any: // ignore = [{...}]
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				list = append(list, m)
			}
		}
	}
	if n, ok := v.([]any); list == nil && (!ok || len(n) > 0) || len(list) < len(n) {
		r.errorf(t.at("ignore"), "write [[drift.ignore]] and its keys below it", "%s is %s", t.name("ignore"), kindOf(v))
		return
	}
	for i, m := range list {
		e := &table{r: r, path: t.at("ignore", strconv.Itoa(i)), m: m}
		inv.Ignores = append(inv.Ignores, r.ignore(e, inv))
	}
}

func (r *reader) ignore(t *table, inv *Inventory) Ignore {
	ig := Ignore{Host: t.str("host", ""), Task: t.str("task", ""), Reason: t.str("reason", "")}
	const day = "write a day without quotes, such as 2027-01-31"
	until, ok := get[time.Time](t, "until", day)
	missing := func(key, mend string) {
		if t.blank(key) {
			r.errorf(t.at(key), mend, "%s is missing", t.name(key))
		}
	}
	missing("host", `name a host, or "*"`)
	missing("task", `name the task as drift prints it, such as "sysctl:net.ipv4.ip_forward", or a glob`)
	missing("reason", "say why, for the one who finds it next year")
	missing("until", day)
	if ok {
		if h, m, s := until.Clock(); h != 0 || m != 0 || s != 0 {
			r.errorf(t.at("until"), day, "%s has a time of day", t.name("until"))
		}
		// to the end of that day, where this runs
		ig.Until = time.Date(until.Year(), until.Month(), until.Day()+1, 0, 0, 0, 0, time.Local)
	}
	if ig.Host == "hub" {
		ig.Host = inv.Hub.Name
	}
	r.ignoreHost(t, ig.Host, inv)
	for _, kv := range [][2]string{{"host", ig.Host}, {"task", ig.Task}} {
		if _, err := path.Match(kv[1], ""); err != nil {
			r.errorf(t.at(kv[0]), "close the bracket, or put a backslash before it", "%s is no glob: %v", t.name(kv[0]), err)
		}
	}
	t.done()
	return ig
}

// ignoreHost refuses a name that no host has, as the rule would do nothing.
func (r *reader) ignoreHost(t *table, host string, inv *Inventory) {
	names := []string{inv.Hub.Name}
	for _, s := range inv.Sites {
		names = append(names, s.Name)
	}
	for _, n := range names {
		if ok, err := path.Match(host, n); ok || err != nil {
			return
		}
	}
	if host == "" {
		return // told already
	}
	mend := `name a host of this inventory, or "*"`
	if n := nearest(host, names); n != "" {
		mend = fmt.Sprintf("did you mean %q?", n)
	}
	r.errorf(t.at("host"), mend, "%s: there is no host %q", t.name("host"), host)
}

// Matches reports whether the rule is about a task of a host.
func (ig Ignore) Matches(host, task string) bool {
	h, err := path.Match(ig.Host, host)
	if err != nil || !h {
		return false
	}
	// A task's ID holds paths, in which path.Match stops at each "/".
	flat := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(flat.Replace(ig.Task), flat.Replace(task))
	return err == nil && ok
}
