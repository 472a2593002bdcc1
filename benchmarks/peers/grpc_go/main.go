// Echo on grpc-go, unary and streamed, with a codec that passes bytes through, so that what is measured is the stack and not protobuf.
// GOMAXPROCS=1 in the environment keeps it to one core. Prints "listening on ADDR" on stderr, as the other peers do.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
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

func echoStream(_ any, stream grpc.ServerStream) error {
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

func repeat(_ any, stream grpc.ServerStream) error {
	var message []byte
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	for range 64 {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "host:port to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(passThrough{}),
		grpc.InitialWindowSize(4<<20),      // so that flow control is not what is measured
		grpc.InitialConnWindowSize(16<<20), // likewise
		grpc.MaxRecvMsgSize(64<<20),
	)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "echo.v1.EchoService",
		HandlerType: (*echoServer)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
		Streams: []grpc.StreamDesc{
			{StreamName: "EchoStream", Handler: echoStream, ServerStreams: true, ClientStreams: true},
		},
	}, struct{}{})
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "benchmarks.v1.RepeatService",
		HandlerType: (*echoServer)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: "Repeat", Handler: repeat, ServerStreams: true}},
	}, struct{}{})
	fmt.Fprintf(os.Stderr, "listening on %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
