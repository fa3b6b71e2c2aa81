package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/text"
)

// Config says where the server is and who asks.
type Config struct {
	// Address is HOST:PORT, or https://HOST:PORT/PATH for KMIP over HTTPS. The port defaults to 5696, the path to /kmip.
	Address string
	// Encoding is how messages are written; XML and JSON need HTTPS.
	Encoding text.Encoding

	// TLS is used as it is, with ServerName set from Address when it is empty. Without it CertFile, KeyFile and CAFile
	// (PEM) are read.
	TLS                       *tls.Config
	CertFile, KeyFile, CAFile string
	ServerName                string // expected name of the server when it is not the host of Address

	Username, Password string // header Authentication; none when Username is empty

	Version             kmip.Version  // of requests; 1.4
	MaximumResponseSize int32         // sent in each request; none when 0
	MaxMessage          int           // octets of an answer that are read at most; 16 MiB
	Timeout             time.Duration // of the dialling and of each exchange; 30 s

	target string // of HTTP requests; "" without HTTP
}

const defaultPort = "5696"

func (c Config) complete() (Config, error) {
	if c.Version == (kmip.Version{}) {
		c.Version = kmip.V1_4
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 16 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if err := c.split(); err != nil {
		return c, err
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		host = strings.Trim(c.Address, "[]")
		c.Address = net.JoinHostPort(host, defaultPort)
	}
	if c.TLS == nil {
		if c.TLS, err = c.load(); err != nil {
			return c, err
		}
	}
	c.TLS = c.TLS.Clone()
	if c.ServerName != "" {
		c.TLS.ServerName = c.ServerName
	}
	if c.TLS.ServerName == "" {
		c.TLS.ServerName = host
	}
	c.TLS.MinVersion = max(c.TLS.MinVersion, tls.VersionTLS12)
	return c, nil
}

// load reads the files; all of them are reported at once.
func (c Config) load() (*tls.Config, error) {
	cert, certErr := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	pem, caErr := os.ReadFile(c.CAFile)
	pool := x509.NewCertPool()
	if caErr == nil && !pool.AppendCertsFromPEM(pem) {
		caErr = fmt.Errorf("%s holds no certificate", c.CAFile)
	}
	if err := errors.Join(certErr, caErr); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool}, nil
}
