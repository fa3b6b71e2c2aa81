package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"

	"kmipd/kmip/ttlv"
	"kmipd/softhsm-tests/internal/harness"
)

// null serves until it is killed. Client certificates are demanded, as kmipd does, but anyone's will do.
func null(responseFile string) error {
	response, err := os.ReadFile(responseFile)
	if err != nil {
		return err
	}
	pair, err := harness.SelfSigned("null operation")
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{*pair}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12,
		DynamicRecordSizingDisabled: true, // one record an answer, as kmipd does
	})
	if err != nil {
		return err
	}
	fmt.Printf("ready %s\n", listener.Addr())
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(c, response)
	}
}

func serve(c net.Conn, response []byte) {
	defer c.Close()
	in := bufio.NewReader(c)
	buf := make([]byte, 64<<10)
	for {
		if _, err := io.ReadFull(in, buf[:8]); err != nil {
			return
		}
		size := 8 + int(binary.BigEndian.Uint32(buf[4:]))
		if size > len(buf) {
			return
		}
		if _, err := io.ReadFull(in, buf[8:size]); err != nil {
			return
		}
		root, err := ttlv.Parse(buf[:size], ttlv.DefaultLimits)
		if err != nil {
			return
		}
		visit(root)
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

// visit reads every item, as a server does that understands the request.
func visit(it ttlv.Item) {
	if it.Type != ttlv.Structure {
		return
	}
	for m := range it.Members {
		visit(m)
	}
}
