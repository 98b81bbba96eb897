package clients

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// what the page is opened as, and what it must then show
var visitors = []struct {
	system, agent, language string
	width                   int
	mobile                  bool
}{
	{"windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", "en-US", 1280, false},
	{"mac", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15", "ja-JP", 1280, false},
	{"linux", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "de-DE", 1280, false},
	{"ios", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15", "ja", 390, true},
	{"android", "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36", "en-GB", 390, true},
	{"windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", "ja-JP", 390, true},
}

// look is what a script finds on the open page.
const look = `(() => {
  const shown = e => e.getClientRects().length > 0;
  const out = {language: document.documentElement.lang, systems: [], foreign: [], wide: [], text: document.body.innerText, links: {}};
  for (const e of document.querySelectorAll(".system")) if (shown(e)) out.systems.push([...e.classList].find(c => c !== "system"));
  for (const e of document.querySelectorAll("[lang]")) if (e !== document.documentElement && e.getAttribute("lang") !== out.language && shown(e)) out.foreign.push(e.textContent);
  for (const e of document.querySelectorAll("body *")) {
    const r = e.getBoundingClientRect();
    if (shown(e) && r.width > 0 && e.tagName !== "INPUT" && (r.right > innerWidth + 0.5 || r.left < -0.5)) out.wide.push(e.tagName + " " + e.textContent.slice(0, 40));
  }
  if (document.documentElement.scrollWidth > innerWidth) out.wide.push("the page");
  for (const e of document.querySelectorAll("a")) out.links[e.download] = e.href;
  return JSON.stringify(out);
})()`

// The page opens in a real browser, on a desk and on a phone. It shows a person their
// own system in their language and no other, fits the screen, asks nobody for anything,
// and complains of nothing; what it has inside is what the other forms are. With
// VPNPUSH_PAGES=DIR what is seen is kept there.
func TestPageInBrowser(t *testing.T) {
	b := startBrowser(t)
	for _, name := range slices.Sorted(maps.Keys(inventories)) {
		inv := inventories[name]()
		f := export(t, inv, "html")
		path := filepath.Join(t.TempDir(), "page.html")
		if err := os.WriteFile(path, []byte(f.Content.Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, v := range visitors {
			t.Run(fmt.Sprintf("%s/%s/%s/%d", name, v.system, v.language, v.width), func(t *testing.T) {
				b.visit(t, path, v.agent, v.language, v.width, v.mobile)
				var got struct {
					Language, Text         string
					Systems, Foreign, Wide []string
					Links                  map[string]string
				}
				if err := json.Unmarshal([]byte(b.evaluate(t, look)), &got); err != nil {
					t.Fatal(err)
				}
				if dir := os.Getenv("VPNPUSH_PAGES"); dir != "" {
					b.screenshot(t, filepath.Join(dir, fmt.Sprintf("%s-%s-%s-%d.png", name, v.system, got.Language, v.width)))
				}
				want := "en"
				if strings.HasPrefix(v.language, "ja") {
					want = "ja"
				}
				if got.Language != want || len(got.Foreign) > 0 {
					t.Errorf("the page is in %s, with %q", got.Language, got.Foreign)
				}
				if len(got.Systems) != 1 || got.Systems[0] != v.system {
					t.Errorf("it shows %v", got.Systems)
				}
				if len(got.Wide) > 0 {
					t.Errorf("wider than the screen: %q", got.Wide)
				}
				if v.system != "android" && !strings.Contains(got.Text, inv.L2TP.Users[0].Name) || !strings.Contains(got.Text, "192.168.1.0/24 (tokyo)") {
					t.Errorf("it says\n%s", got.Text)
				}
				if v.system == "ios" && (!strings.Contains(got.Text, strings.TrimSpace(inv.L2TP.PSK.Reveal())) || !strings.Contains(got.Text, strings.TrimSpace(inv.L2TP.Users[0].Password.Reveal()))) {
					t.Errorf("key or password are not as they are typed:\n%s", got.Text)
				}
				for _, form := range []string{"windows", "apple", "linux"} {
					file := export(t, inv, form)
					content, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(got.Links[file.Name], "data:application/octet-stream;base64,"))
					if err != nil || string(content) != file.Content.Reveal() {
						t.Errorf("%s in the page is %v:\n%s", file.Name, err, content)
					}
				}
				for _, r := range b.requests {
					if !strings.HasPrefix(r, "file://") && !strings.HasPrefix(r, "data:") || strings.HasPrefix(r, "file://") && !strings.HasSuffix(r, "page.html") {
						t.Errorf("the page asks for %s", r)
					}
				}
				if len(b.complaints) > 0 {
					t.Errorf("the browser complains: %q", b.complaints)
				}
				// who chooses another system or language gets it
				b.evaluate(t, `document.querySelector("label[for=linux]").click(), document.querySelector("label[for=ja]").click(), ""`)
				if err := json.Unmarshal([]byte(b.evaluate(t, look)), &got); err != nil {
					t.Fatal(err)
				}
				if got.Language != "ja" || len(got.Foreign) > 0 || !slices.Equal(got.Systems, []string{"linux"}) || len(got.Wide) > 0 {
					t.Errorf("Linux in Japanese was chosen, and it shows %v in %s, with %q, too wide: %q", got.Systems, got.Language, got.Foreign, got.Wide)
				}
			})
		}
	}
}

// Every text of the page is there in both languages, and no address in it is another
// host's.
func TestPageIsBilingual(t *testing.T) {
	text, err := templates.ReadFile("templates/page.html.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	pair := regexp.MustCompile(`\{\{t "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"`)
	japanese := regexp.MustCompile(`[\p{Hiragana}\p{Katakana}\p{Han}]`)
	n := 0
	for _, m := range pair.FindAllStringSubmatch(string(text), -1) {
		n++
		tags := regexp.MustCompile(`<[^>]*>|%s`)
		if (m[1] == "") != (m[2] == "") || japanese.MatchString(m[1]) || m[2] != "" && !japanese.MatchString(m[2]) {
			t.Errorf("%q is not %q", m[1], m[2])
		}
		if a, b := len(tags.FindAllString(m[1], -1)), len(tags.FindAllString(m[2], -1)); a != b {
			t.Errorf("%q has %d tags, %q has %d", m[1], a, m[2], b)
		}
	}
	if n < 40 {
		t.Errorf("only %d texts were found", n)
	}
	for name, inv := range inventories {
		for _, m := range regexp.MustCompile(`(?i)(src|href|url|@import)\s*[=(]\s*"?([^")> ]*)`).FindAllStringSubmatch(export(t, inv(), "html").Content.Reveal(), -1) {
			if !strings.HasPrefix(m[2], "data:application/octet-stream;base64,") {
				t.Errorf("%s: the page names %s", name, m[0])
			}
		}
	}
}

// browser is a headless Chromium, spoken to over a pipe (its DevTools protocol).
type browser struct {
	in                   *os.File
	out                  *bufio.Reader
	id                   int
	session              string
	requests, complaints []string
	loaded               bool
}

// startBrowser starts one, or skips the test where there is none.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("NOT TESTED: that a browser shows the page: no chromium")
	}
	cr, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, cw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(), "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync"}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // it refuses to run as root with one
	}
	cmd := exec.Command(path, args...)
	cmd.ExtraFiles = []*os.File{cr, cw}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cr.Close()
	cw.Close()
	b := &browser{in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.session = ""
		fmt.Fprintf(in, `{"id":%d,"method":"Browser.close"}`+"\x00", b.id+1)
		in.Close()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
		}
		out.Close()
	})
	out.SetReadDeadline(time.Now().Add(5 * time.Minute)) // for a browser that hangs
	var target struct{ TargetID string }
	b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call(t, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Network", "Log", "Runtime"} {
		b.call(t, domain+".enable", nil, nil)
	}
	return b
}

// call calls a method, and notes what the browser tells meanwhile.
func (b *browser) call(t *testing.T, method string, params map[string]any, result any) {
	t.Helper()
	b.id++
	m := map[string]any{"id": b.id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	for !b.read(t, method, result) {
	}
}

// read reads one message, and reports whether it answers the last call.
func (b *browser) read(t *testing.T, method string, result any) bool {
	t.Helper()
	text, err := b.out.ReadBytes(0)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	var m struct {
		ID     int
		Method string
		Error  json.RawMessage
		Result json.RawMessage
		Params struct {
			Request          struct{ URL string }
			Entry            struct{ Text string }
			ExceptionDetails struct{ Text string }
		}
	}
	if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m); err != nil {
		t.Fatal(err)
	}
	switch m.Method {
	case "Network.requestWillBeSent":
		b.requests = append(b.requests, m.Params.Request.URL)
	case "Log.entryAdded":
		b.complaints = append(b.complaints, m.Params.Entry.Text)
	case "Runtime.exceptionThrown":
		b.complaints = append(b.complaints, m.Params.ExceptionDetails.Text)
	case "Page.loadEventFired":
		b.loaded = true
	}
	if m.ID != b.id {
		return false
	}
	if m.Error != nil {
		t.Fatalf("%s: %s", method, m.Error)
	}
	if result != nil {
		if err := json.Unmarshal(m.Result, result); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

func (b *browser) visit(t *testing.T, path, agent, language string, width int, mobile bool) {
	t.Helper()
	b.call(t, "Emulation.setUserAgentOverride", map[string]any{"userAgent": agent, "acceptLanguage": language}, nil)
	b.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": mobile}, nil)
	b.requests, b.complaints, b.loaded = nil, nil, false
	b.call(t, "Page.navigate", map[string]any{"url": "file://" + path}, nil)
	for !b.loaded {
		b.read(t, "load the page", nil)
	}
}

func (b *browser) evaluate(t *testing.T, script string) string {
	t.Helper()
	var got struct{ Result struct{ Value string } }
	b.call(t, "Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true}, &got)
	return got.Result.Value
}

func (b *browser) screenshot(t *testing.T, path string) {
	t.Helper()
	var got struct{ Data []byte }
	b.call(t, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &got)
	if err := os.WriteFile(path, got.Data, 0o644); err != nil {
		t.Fatal(err)
	}
}
