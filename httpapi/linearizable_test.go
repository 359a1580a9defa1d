package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"kvactor/actor/actortest"
	"kvactor/httpapi/apitest"
)

// Guarantee 5, as clients of the server see it.
func TestLinearizableOverHTTP(t *testing.T) {
	s := start(t, setup{Config: Config{Quiet: true}})
	clients := make(clientPool, 100)
	actortest.CheckLinearizable(t, 100, false, func() actortest.Store {
		store := httpStore{t, s, clients}
		if err := store.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		return store
	})
}

// An httpStore is the store behind a server, used through connections that a pool
// keeps between calls.
type httpStore struct {
	t *testing.T
	*testServer
	pool clientPool
}

type clientPool chan apitest.Client

func (s httpStore) do(method, path, body string) (int, string, error) {
	var c apitest.Client
	select {
	case c = <-s.pool:
	default:
		c = s.connect(s.t)
	}
	defer func() { s.pool <- c }()
	resp, got, err := c.Do(method, path, body)
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, got, nil
}

// want makes a request that must succeed.
func (s httpStore) want(method, path, body string) error {
	status, got, err := s.do(method, path, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, got)
	}
	return err
}

func (s httpStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	status, value, err := s.do("GET", "/kv/"+key, "")
	if status != http.StatusOK {
		return nil, false, err
	}
	return []byte(value), true, err
}

func (s httpStore) Put(_ context.Context, key string, value []byte, _ int64) error {
	return s.want("PUT", "/kv/"+key, string(value))
}

func (s httpStore) Delete(_ context.Context, key string) error {
	return s.want("DELETE", "/kv/"+key, "")
}

func (s httpStore) Clear(context.Context) error { return s.want("DELETE", "/clear", "") }
