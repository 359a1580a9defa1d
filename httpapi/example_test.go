package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"kvactor/actor"
	"kvactor/httpapi"
)

// The two owners, and the API between them.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	store := actor.New(1 << 20)
	go store.Run(ctx)
	log := httpapi.NewLog(os.Stdout)
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		log.Run(ctx)
	}()

	server := httptest.NewServer(httpapi.New(store, 1<<20, log))
	put, _ := http.NewRequest("PUT", server.URL+"/kv/kenya:capital", strings.NewReader("Nairobi"))
	http.DefaultClient.Do(put)
	resp, _ := http.Get(server.URL + "/kv/kenya:capital")
	value, _ := io.ReadAll(resp.Body)
	server.Close()

	stop()
	<-logged
	fmt.Printf("%s\n", value)
	// Output:
	// PUT /kv/kenya:capital accepted, value=Nairobi
	// GET /kv/kenya:capital returning 200
	// Nairobi
}
