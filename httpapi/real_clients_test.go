package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
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

	for _, row := range []struct{ name, tool, script string }{
		{"curl", "curl", `curl -sS -T "$FILE" $URL`},
		{"curl, no Expect", "curl", `curl -sS -H Expect: -T "$FILE" $URL`},
		{"curl, chunked", "curl", `curl -sS -H 'Transfer-Encoding: chunked' -T "$FILE" $URL`},
		{"wget", "wget", `wget -q -O - --content-on-error --method=PUT --body-file="$FILE" $URL`},
		{"python3 http.client", "python3", `python3 -c '
import http.client, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
c = http.client.HTTPConnection(url.netloc)
c.request("PUT", url.path, b"x" * 40_000_000)
print(c.getresponse().read().decode())' $URL`},
		{"python3 http.client, chunked", "python3", `python3 -c '
import http.client, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
c = http.client.HTTPConnection(url.netloc)
c.request("PUT", url.path, (b"x" * 40000 for _ in range(1000)), encode_chunked=True)
print(c.getresponse().read().decode())' $URL`},
		{"python3 urllib", "python3", `python3 -c '
import sys, urllib.request, urllib.error
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], b"x" * 40_000_000, method="PUT"))
except urllib.error.HTTPError as e:
    print(e.read().decode())' $URL`},
		{"node", "node", `node -e '
fetch(process.argv[1], {method: "PUT", body: Buffer.alloc(40_000_000)}).then(r => r.text()).then(console.log)' $URL`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(row.tool); err != nil {
				t.Skipf("%s is not installed", row.tool)
			}
			cmd := exec.Command("sh", "-c", row.script)
			cmd.Env = append(cmd.Environ(), "FILE="+file, "URL="+url)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if got := strings.TrimSpace(string(out)); got != "value too large" {
				t.Errorf("%q, %v, %s", got, err, stderr.String())
			}
		})
	}

	for name, body := range map[string]io.Reader{
		"Go":          bytes.NewReader(make([]byte, size)),
		"Go, chunked": io.MultiReader(bytes.NewReader(make([]byte, size))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, _ := http.NewRequest("PUT", url, body)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); string(got) != "value too large" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
