// The Pub/Sub server that tests and trials run against: Google's own pstest, in memory, on one port of this machine.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
)

func main() {
	port := flag.Int("port", 8085, "port to listen on; 0 takes a free one")
	var faults []pstest.ServerReactorOption
	flag.Func("fail", "METHOD=CODE, such as Pull=PERMISSION_DENIED: every such call fails so; may be given again",
		func(text string) error {
			method, name, _ := strings.Cut(text, "=")
			var code codes.Code
			if err := code.UnmarshalJSON([]byte(strconv.Quote(name))); err != nil {
				return err
			}
			faults = append(faults, pstest.WithErrorInjection(method, code, "as -fail asked"))
			return nil
		})
	flag.Parse()
	address := net.JoinHostPort("localhost", strconv.Itoa(*port))
	// pstest panics when it cannot listen; ask first, so that the reason is one line
	probe, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(7)
	}
	probe.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	server := pstest.NewServerWithAddress(address, faults...)
	fmt.Println(server.Addr)
	// streams of clients that are still there would keep Close waiting; nothing here outlives the process anyway
	<-stop
}
