// One FerretDB with SQLite behind it, on the port of this machine that is given, with its files in the folder that is
// given. Prints the port once it listens, and ends when its input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	port, folder := os.Args[1], os.Args[2]
	address := "127.0.0.1:" + port
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: address},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Handler:   "sqlite",
		SQLiteURL: "file:" + folder + "/",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	go func() {
		for i := 0; i < 600; i++ {
			if connection, err := net.Dial("tcp", address); err == nil {
				connection.Close()
				fmt.Println(port)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if err := <-ended; err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
