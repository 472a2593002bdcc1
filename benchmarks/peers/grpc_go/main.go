// Unary echo on grpc-go, with a codec that passes bytes through, so that what is measured is the stack and not protobuf.
// GOMAXPROCS=1 in the environment keeps it to one core. Prints "listening on ADDR" on stderr, as the other peers do.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

type passThrough struct{}

func (passThrough) Name() string { return "proto" }

func (passThrough) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (passThrough) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = passThrough{}

type echoServer interface{}

func echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	message := new([]byte)
	if err := decode(message); err != nil {
		return nil, err
	}
	return message, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "host:port to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(passThrough{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "echo.v1.EchoService",
		HandlerType: (*echoServer)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
	}, struct{}{})
	fmt.Fprintf(os.Stderr, "listening on %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
