package httpapi

import (
	"errors"
	"net/http"
	"os"

	"kvactor/actor"
)

// A response is what a client gets, and what the log says besides.
type response struct {
	status     int
	body       []byte
	retryAfter string // in seconds, or empty

	stored string // what the log shows of the value that a PUT stored
	cause  error  // an error that the client does not see
}

var (
	accepted              = response{status: http.StatusOK}
	keyEmpty              = newError(http.StatusBadRequest, "key cannot be empty")
	keyInvalid            = newError(http.StatusBadRequest, "key contains invalid characters")
	rangeNotSupported     = newError(http.StatusBadRequest, "content-range is not supported")
	conditionNotSupported = newError(http.StatusBadRequest, "condition is not supported")
	valueEmpty            = newError(http.StatusBadRequest, "value cannot be empty")
	valueNotUTF8          = newError(http.StatusBadRequest, "value must be valid UTF-8")
	valueIncomplete       = newError(http.StatusBadRequest, "value is incomplete")
	keyNotFound           = newError(http.StatusNotFound, "key not found")
	notFound              = newError(http.StatusNotFound, "not found")
	methodNotAllowed      = newError(http.StatusMethodNotAllowed, "method not allowed")
	valueStalled          = newError(http.StatusRequestTimeout, "value took too long")
	conditionFailed       = newError(http.StatusPreconditionFailed, "precondition failed")
	valueTooLarge         = newError(http.StatusRequestEntityTooLarge, "value too large")
	storeUnavailable      = newError(http.StatusServiceUnavailable, "store is unavailable")
	storeFull             = newError(http.StatusInsufficientStorage, "store is full")

	serverBusy = response{
		status:     http.StatusServiceUnavailable,
		body:       []byte("server is busy"),
		retryAfter: "1",
	}
)

func newError(status int, reason string) response {
	return response{status: status, body: []byte(reason)}
}

// responseTo returns the response to a request for which the store returned err.
func responseTo(err error) response {
	switch {
	case err == nil:
		return accepted
	case errors.Is(err, actor.ErrFull):
		return storeFull
	case errors.Is(err, actor.ErrExists):
		return conditionFailed
	case errors.Is(err, actor.ErrStopped):
		return storeUnavailable
	default:
		resp := storeUnavailable
		resp.cause = err
		return resp
	}
}

// responseToRead returns the response to a PUT whose body could not be read because of err.
func responseToRead(err error) response {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return valueStalled
	}
	return valueIncomplete
}
