package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxShown is how many bytes of a key, a value or a path the log shows.
const maxShown = 64

// requestLine returns the line about a request and its response.
func requestLine(method, path string, resp response) string {
	prefix := ""
	if key, found := strings.CutPrefix(path, "/kv/"); found {
		prefix, path = "/kv/", key
	}
	outcome := " accepted"
	switch {
	case resp.status != http.StatusOK || method == http.MethodGet:
		outcome = " returning " + strconv.Itoa(resp.status)
	case method == http.MethodPut:
		outcome = " accepted, value=" + resp.stored
	}
	return excerpt(method, isPathRune) + " " + prefix + excerpt(path, isPathRune) + outcome
}

// excerpt returns what the log shows of something that a client sent. It is all of
// it if it is short and every rune is plain. Otherwise it is quoted, and if it is
// long it is cut between two runes and its length is added.
func excerpt[T string | []byte](sent T, plain func(rune) bool) string {
	cut := min(len(sent), maxShown)
	for cut < len(sent) && cut > maxShown-utf8.UTFMax && !utf8.RuneStart(sent[cut]) {
		cut--
	}
	shown := string(sent[:cut])
	switch {
	case cut < len(sent):
		return fmt.Sprintf("%q... (%d bytes)", shown, len(sent))
	case strings.ContainsFunc(shown, func(r rune) bool { return !plain(r) }):
		return strconv.Quote(shown)
	default:
		return shown
	}
}

// isPathRune reports whether r is plain in a method, a path or a key.
func isPathRune(r rune) bool {
	return r < utf8.RuneSelf && isKeyByte(byte(r)) || r == '/'
}

// isTextRune reports whether r is plain in a value. A quotation mark is not, so
// that no value looks like one that is quoted.
func isTextRune(r rune) bool {
	return strconv.IsPrint(r) && r != '"'
}

// printable returns text as a line for the log, with a space for each rune that does not
// print.
func printable(text string) string {
	return strings.TrimRight(strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, text), " ")
}
