package httpapi

import "net/http"

// isKey reports whether key, which is not empty, has only bytes that a key may have.
func isKey(key string) bool {
	for i := range len(key) {
		if !isKeyByte(key[i]) {
			return false
		}
	}
	return true
}

func isKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == ':' || c == '_' || c == '.' || c == '-'
}

// isCreate reports whether header asks to store a value only if its key does not exist.
func isCreate(header http.Header) bool {
	noneMatch := header["If-None-Match"]
	return len(noneMatch) == 1 && noneMatch[0] == "*" && len(header["If-Match"]) == 0
}

// hasCondition reports whether header asks to act only if the key has, or does not have,
// an entity tag (RFC 9110, section 13.1). The server gives out no entity tags.
func hasCondition(header http.Header) bool {
	_, match := header["If-Match"]
	_, noneMatch := header["If-None-Match"]
	return match || noneMatch
}
