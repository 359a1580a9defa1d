package httpapi

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Clients that people use see why a value of 40 MB is refused, although they send all of
// it, or as much as they want, before they read.
func TestRealClientsSeeWhyAValueIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, setup{})
	url := "http://" + s.connect(t).RemoteAddr().String() + "/kv/a"
	const size = 40_000_000
	file := t.TempDir() + "/value"
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}

	const python = `import http.client, sys, urllib.error, urllib.parse, urllib.request
url = urllib.parse.urlsplit(sys.argv[1])
c = http.client.HTTPConnection(url.netloc)
`
	for name, command := range map[string][]string{
		"curl":            {"curl", "-sS", "-T", file, url},
		"curl, no Expect": {"curl", "-sS", "-H", "Expect:", "-T", file, url},
		"curl, chunked":   {"curl", "-sS", "-H", "Transfer-Encoding: chunked", "-T", file, url},
		"wget":            {"wget", "-q", "-O", "-", "--content-on-error", "--method=PUT", "--body-file=" + file, url},
		"python3 http.client": {"python3", "-c", python + `
c.request("PUT", url.path, b"x" * 40_000_000)
print(c.getresponse().read().decode())`, url},
		"python3 http.client, chunked": {"python3", "-c", python + `
c.request("PUT", url.path, (b"x" * 40000 for _ in range(1000)), encode_chunked=True)
print(c.getresponse().read().decode())`, url},
		"python3 urllib": {"python3", "-c", python + `
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], b"x" * 40_000_000, method="PUT"))
except urllib.error.HTTPError as e:
    print(e.read().decode())`, url},
		"node": {"node", "-e", `
fetch(process.argv[1], {method: "PUT", body: Buffer.alloc(40_000_000)}).then(r => r.text()).then(console.log)`, url},
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
