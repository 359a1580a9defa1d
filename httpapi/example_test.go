package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"kvactor/actor"
	"kvactor/httpapi"
)

// The owner of the map, the owner of the log, and the server between them.
func Example() {
	ctx := context.Background()
	log := httpapi.NewLog(os.Stdout)
	store := actor.New(1 << 20)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httpapi.NewServer(listener, store, log, httpapi.Config{
		MaxValueBytes:    1 << 10,
		MaxInflightBytes: 1 << 20,
		MaxConns:         10,
	})
	go server.Serve()

	url := "http://" + listener.Addr().String() + "/kv/kenya:capital"
	put, _ := http.NewRequest("PUT", url, strings.NewReader("Nairobi"))
	http.DefaultClient.Do(put)
	resp, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	value, _ := io.ReadAll(resp.Body)

	server.Shutdown(ctx)
	store.Stop()
	log.Stop(ctx)
	fmt.Printf("%s\n", value)
	// Output:
	// PUT /kv/kenya:capital accepted, value=Nairobi
	// GET /kv/kenya:capital returning 200
	// Nairobi
}
