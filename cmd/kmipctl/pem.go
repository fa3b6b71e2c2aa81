package main

import (
	"encoding/pem"
	"errors"
	"fmt"

	"kmipd/kmip"
)

// pem is the material as PEM. Only some formats have a label.
func (m *material) pem(view *objectView) ([]byte, error) {
	label := ""
	switch f := view.format; {
	case view.Object.Wrapping != nil:
		return nil, errors.New("a wrapped key has no PEM form: leave --pem out")
	case view.object == kmip.ObjectTypeCertificate && view.Object.CertificateType == kmip.CertificateTypeX509.String():
		label = "CERTIFICATE"
	case view.object == kmip.ObjectTypePrivateKey && f == kmip.KeyFormatTypePKCS8 && encrypted(m.value):
		label = "ENCRYPTED PRIVATE KEY"
	default:
		for _, p := range pemFormats {
			if p.object == view.object && p.format == f && p.label != "ENCRYPTED PRIVATE KEY" {
				label = p.label
			}
		}
	}
	if label == "" || m.value == nil {
		what := view.ObjectType
		if view.Object.KeyFormatType != "" {
			what += " in the format " + view.Object.KeyFormatType
		}
		return nil, fmt.Errorf("a %s has no PEM form: leave --pem out, or ask for another --format", what)
	}
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: m.value}), nil
}
