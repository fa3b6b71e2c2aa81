package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

// certification is the flags that certify and re-certify share.
type certification struct {
	newObject
	request, requestType, subject string
	subjectNames                  []string
}

func (c *certification) define(f *pflag.FlagSet) {
	f.StringVar(&c.request, "request", "", "`file` with the certificate request, PEM or DER; - for standard input")
	f.StringVar(&c.requestType, "request-type", "pkcs10", "pkcs10, crmf or pem")
	f.StringVar(&c.subject, "subject", "", "distinguished `name` of the subject, without --request: CN=www,O=Example")
	f.StringArrayVar(&c.subjectNames, "subject-name", nil, "alternative `name` of the subject, without --request: a host, an address, ...; may be repeated")
	c.defineNew(f)
}

// template is the attributes of the certificate.
func (c *certification) template() (*kmip.TemplateAttribute, error) {
	var problems []error
	ta, err := c.templateAttribute()
	if err != nil {
		problems = append(problems, err)
	}
	if c.subject == "" && len(c.subjectNames) == 0 {
		return ta, joined("", problems)
	}
	if c.request != "" {
		problems = append(problems, errors.New("--subject and --subject-name do not go with --request, which has a subject"))
	}
	if ta == nil {
		ta = &kmip.TemplateAttribute{}
	}
	s := kmip.CertificateSubject{CertificateSubjectDistinguishedName: c.subject, CertificateSubjectAlternativeName: c.subjectNames}
	ta.Attribute = append(ta.Attribute, attribute("Certificate Subject", s.Append(nil, kmip.TagAttributeValue, kmip.V1_4)))
	return ta, joined("", problems)
}

// read reads the certificate request, if there is one.
func (c *certification) read(k *kit) (kmip.CertificateRequestType, []byte, error) {
	if c.request == "" {
		return 0, nil, nil
	}
	t, err := parseEnum("CertificateRequestType", c.requestType)
	if err != nil {
		return 0, nil, usageError("--request-type: %v", err)
	}
	data, err := k.readFile("request", c.request)
	if err != nil {
		return 0, nil, err
	}
	typ := kmip.CertificateRequestType(t)
	if typ != kmip.CertificateRequestTypePEM {
		data, err = fromPEM(data, "request", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
	}
	if err == nil && len(data) == 0 {
		err = usageError("--request: %s is empty", c.request)
	}
	return typ, data, err
}

// fromPEM is what the one block with such a label holds; what is not PEM is taken for DER.
func fromPEM(data []byte, flag string, labels ...string) ([]byte, error) {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		return data, nil
	}
	var found [][]byte
	var others []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		others = append(others, block.Type)
		for _, l := range labels {
			if block.Type == l {
				found = append(found, block.Bytes)
			}
		}
	}
	if len(found) != 1 {
		return nil, usageError("--%s: the PEM file must hold one %s, and holds %q", flag, labels[0], others)
	}
	return found[0], nil
}

var cmdCertify = command{
	name: "certify", args: "[ID]", short: "have the server make a certificate for a public key",
	about: `ID or --name is the public key. With --request it may be left out: then the server stores the public key of the request.
Without --request the subject is that of --subject and --subject-name, or the Name. Fetch the certificate with get --pem.`,
	examples: []string{
		"certify --request www.csr --new-name www",
		"certify --name signer-pub --subject 'CN=signer,O=Example' --deactivation-date +90d",
		"certify 8f14e45f --subject-name www.example.com --attribute 'x-Certificate Profile=storage' --json",
	},
	setup: func(f *pflag.FlagSet) action {
		c := &certify{}
		c.define(f)
		return c.run
	},
}

type certify struct {
	target
	certification
	later
}

func (c *certify) define(f *pflag.FlagSet) {
	c.target.define(f)
	c.certification.define(f)
	c.later.define(f)
}

func (c *certify) run(ctx context.Context, k *kit, args []string) (result, error) {
	bare := c.request != "" && c.target.name == "" && len(args) == 0
	if !bare {
		if _, err := c.take(args); err != nil {
			return nil, err
		}
	}
	req, err := c.message(k)
	if err != nil {
		return nil, err
	}
	if bare {
		conn, err := k.client(ctx)
		if err != nil {
			return nil, err
		}
		return askLater(ctx, conn, c.later, kmip.OperationCertify, req, viewCertify)
	}
	conn, id, err := c.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = &id
	return askLater(ctx, conn, c.later, kmip.OperationCertify, req, viewCertify)
}

// message is the request without target.
func (c *certify) message(k *kit) (*kmip.CertifyRequest, error) {
	ta, err := c.template()
	if err != nil {
		return nil, err
	}
	if c.certification.request == "" {
		// Nothing else tells what kind of certificate is wanted.
		if ta == nil {
			ta = &kmip.TemplateAttribute{}
		}
		if !has(ta.Attribute, "Certificate Type") && len(ta.Name) == 0 {
			ta.Attribute = append([]kmip.Attribute{enumAttribute("Certificate Type", kmip.CertificateTypeX509)}, ta.Attribute...)
		}
	}
	typ, data, err := c.read(k)
	return &kmip.CertifyRequest{CertificateRequestType: typ, CertificateRequest: data, TemplateAttribute: ta}, err
}

func viewCertify(r *kmip.CertifyResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier, Attributes: implicit(r.TemplateAttribute)}
}

var cmdReCertify = command{
	name: "re-certify", args: "[ID]", short: "have the server renew a certificate",
	about: `ID or --name is the certificate. The new one takes its Name and is for the same key; without --request it has the same
subject.`,
	examples: []string{"re-certify --name www", "re-certify 8f14e45f --request www.csr --offset 0"},
	setup: func(f *pflag.FlagSet) action {
		c := &reCertify{}
		c.define(f)
		return c.run
	},
}

type reCertify struct {
	renewal
	certification
}

func (c *reCertify) define(f *pflag.FlagSet) {
	c.renewal.define(f)
	c.certification.define(f)
	c.later.define(f)
}

func (c *reCertify) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := c.take(args); err != nil {
		return nil, err
	}
	req, err := c.message(k)
	if err != nil {
		return nil, err
	}
	conn, id, err := c.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = &id
	return askLater(ctx, conn, c.later, kmip.OperationReCertify, req, viewReCertify)
}

func (c *reCertify) message(k *kit) (*kmip.ReCertifyRequest, error) {
	offset, err := c.interval()
	if err != nil {
		return nil, err
	}
	ta, err := c.template()
	if err != nil {
		return nil, err
	}
	typ, data, err := c.read(k)
	return &kmip.ReCertifyRequest{CertificateRequestType: typ, CertificateRequest: data, Offset: offset, TemplateAttribute: ta}, err
}

func viewReCertify(r *kmip.ReCertifyResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier, Attributes: implicit(r.TemplateAttribute)}
}
