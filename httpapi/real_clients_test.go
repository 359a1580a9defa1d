package httpapi

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Clients that people use see why a value of 10 MB is refused, although they send all of
// it, or as much as they want, before they read.
func TestRealClientsSeeWhyAValueIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, setup{})
	url := "http://" + s.connect(t).RemoteAddr().String() + "/kv/a"
	file := t.TempDir() + "/value"
	if err := os.WriteFile(file, make([]byte, 10_000_000), 0o600); err != nil {
		t.Fatal(err)
	}

	const python = `
import http.client, sys, urllib.parse
url, value, seen = urllib.parse.urlsplit(sys.argv[1]), b"x" * 10_000_000, set()
for body in value, (value[:40_000] for _ in range(250)):  # the second is chunked
    c = http.client.HTTPConnection(url.netloc)
    c.request("PUT", url.path, body, encode_chunked=body is not value)
    seen.add(c.getresponse().read().decode())
print(*seen)`
	const node = `fetch(process.argv[1], {method: "PUT", body: Buffer.alloc(10_000_000)}).then(r => r.text()).then(console.log)`

	for name, command := range map[string][]string{
		"curl":            {"curl", "-sS", "-T", file, url},
		"curl, no Expect": {"curl", "-sS", "-H", "Expect:", "-T", file, url},
		"curl, chunked":   {"curl", "-sS", "-H", "Transfer-Encoding: chunked", "-T", file, url},
		"wget":            {"wget", "-q", "-O", "-", "--content-on-error", "--method=PUT", "--body-file=" + file, url},
		"python3":         {"python3", "-c", python, url},
		"node":            {"node", "-e", node, url},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Skipf("%s is not installed", command[0])
			}
			cmd := exec.Command(command[0], command[1:]...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if got := strings.TrimSpace(string(out)); got != "value too large" {
				t.Errorf("%q, %v, %s", got, err, stderr.String())
			}
		})
	}
}
