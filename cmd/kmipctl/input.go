package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

// pieceSize is what goes into one request. Servers take messages of 1 MiB or more; a larger input is sent in parts.
const pieceSize = 512 << 10

// input is the flags that name the data of an operation.
type input struct {
	file string
	hex  bool
}

func (in *input) define(f *pflag.FlagSet, what string) {
	f.StringVar(&in.file, "file", "-", "`file` with "+what+"; - for standard input")
	f.BoolVar(&in.hex, "hex", false, "the file is text in hexadecimal")
}

// part is what one request has of the input, and where that stands (KMIP 1.4 section 4).
type part struct {
	data, correlation []byte
	first, last       bool
}

// init is the Init Indicator: of an operation in one request there is none.
func (p *part) init() *bool { return indicator(p.first && !p.last) }

// final is the Final Indicator.
func (p *part) final() *bool { return indicator(p.last && !p.first) }

func indicator(set bool) *bool {
	if !set {
		return nil
	}
	return &set
}

// pieces reads an input piece by piece, one ahead to know the last one. The buffers are its own, and wiped.
type pieces struct {
	name      string
	r         io.Reader
	file      *os.File
	now, next []byte
	ahead     int // octets in next
	began     bool
	whole     []byte // an input that was read at once
}

// open opens the input. One that the version or the operation (whole) cannot take in parts is read at once.
func (in *input) open(k *kit, whole bool) (*pieces, error) {
	p := &pieces{name: in.file, r: k.in}
	if in.hex || whole || k.version.Before(kmip.V1_3) {
		data, err := k.readFile("file", in.file)
		if err != nil {
			return nil, err
		}
		p.whole = data
		if in.hex {
			p.whole, err = parseHex(string(data))
			clear(data)
			if err != nil {
				return nil, usageError("--hex: %v", err)
			}
		}
		p.r = bytes.NewReader(p.whole)
	} else if in.file != "-" {
		f, err := os.Open(in.file)
		if err != nil {
			return nil, usageError("--file: %v", err)
		}
		p.file, p.r = f, f
	}
	if whole || k.version.Before(kmip.V1_3) {
		return p, nil
	}
	p.now, p.next = make([]byte, pieceSize), make([]byte, pieceSize)
	return p, nil
}

// read gives the next piece, which is valid until the one after it is asked for.
func (p *pieces) read() (data []byte, last bool, err error) {
	if p.now == nil {
		return p.whole, true, nil
	}
	if !p.began {
		p.began = true
		if err := p.fill(); err != nil {
			return nil, false, err
		}
	}
	p.now, p.next = p.next, p.now
	data = p.now[:p.ahead]
	p.ahead = 0
	if len(data) == pieceSize {
		if err := p.fill(); err != nil {
			return nil, false, err
		}
	}
	return data, p.ahead == 0, nil
}

func (p *pieces) fill() error {
	n, err := io.ReadFull(p.r, p.next)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading %s: %w", p.name, err)
	}
	p.ahead = n
	return nil
}

// close wipes what is left of the input.
func (p *pieces) close() {
	clear(p.now)
	clear(p.next)
	clear(p.whole)
	if p.file != nil {
		_ = p.file.Close() // only read from
	}
}

// each sends the pieces one after the other. send does one request and returns the Correlation Value of the answer.
func (p *pieces) each(send func(*part) (correlation []byte, err error)) error {
	at := &part{first: true}
	for {
		var err error
		if at.data, at.last, err = p.read(); err != nil {
			return err
		}
		correlation, err := send(at)
		if err != nil || at.last {
			return err
		}
		if len(correlation) == 0 {
			return errors.New("the server takes the data of the operation in one request alone: the answer has no Correlation Value")
		}
		at.correlation, at.first = bytes.Clone(correlation), false
	}
}

// proof is the flags that bring what is to be verified: it is short and no secret.
type proof struct{ what, text, file string }

func (p *proof) define(f *pflag.FlagSet, flag, what string) {
	p.what = flag
	f.StringVar(&p.text, flag, "", what+" in `hexadecimal`")
	f.StringVar(&p.file, flag+"-file", "", "`file` with "+what+" as octets")
}

func (p *proof) read(k *kit, data *input) ([]byte, error) {
	switch {
	case (p.text == "") == (p.file == ""):
		return nil, usageError("give either --%s or --%s-file", p.what, p.what)
	case p.file == "-" && data.file == "-":
		return nil, usageError("--file and --%s-file cannot both be standard input", p.what)
	case p.file != "":
		return k.readFile(p.what+"-file", p.file)
	}
	b, err := parseHex(p.text)
	if err != nil || len(b) == 0 {
		return nil, usageError("--%s: the value is not hexadecimal", p.what)
	}
	return b, nil
}
