package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/BurntSushi/toml"

	"kmipd/keystore"
)

// certification puts together what the operator decided about certificates: the profiles, where revocation lists are, and
// whom Validate trusts (the authorities of the clients).
func (c *config) certification() (keystore.CertifyConfig, error) {
	out := keystore.CertifyConfig{BaseURL: c.CRLURL, CRLLife: c.CRLLife}
	profiles, err := readProfiles(c.CertificateProfiles)
	if err != nil {
		return out, fmt.Errorf("certificate_profiles: %w", err)
	}
	out.Profiles = profiles
	if out.Anchors, err = readCertificates(c.TLSClientCA); err != nil {
		return out, fmt.Errorf("tls_client_ca: %w", err)
	}
	return out, nil
}

// readProfiles reads a file of [[certificate_profile]] tables; "" has none.
func readProfiles(file string) ([]keystore.CertificateProfile, error) {
	if file == "" {
		return nil, nil
	}
	var in struct {
		Profiles []keystore.CertificateProfile `toml:"certificate_profile"`
	}
	var given struct {
		Profiles []map[string]any `toml:"certificate_profile"`
	}
	meta, err := toml.DecodeFile(file, &in)
	if err != nil {
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: there is no setting %q", file, unknown[0])
	}
	if len(in.Profiles) == 0 {
		return nil, fmt.Errorf("%s has no [[certificate_profile]]", file)
	}
	if _, err := toml.DecodeFile(file, &given); err != nil {
		return nil, err
	}
	for i := range in.Profiles { // what is left open is as in the default profile
		if _, ok := given.Profiles[i]["days"]; !ok {
			in.Profiles[i].Days = keystore.DefaultProfile.Days
		}
		if _, ok := given.Profiles[i]["backdate"]; !ok {
			in.Profiles[i].Backdate = keystore.DefaultProfile.Backdate
		}
	}
	return in.Profiles, keystore.CheckProfiles(in.Profiles)
}

// checkCertification finds what is wrong with the settings of certificates.
func (c *config) checkCertification() []error {
	var errs []error
	if _, err := readProfiles(c.CertificateProfiles); err != nil {
		errs = append(errs, fmt.Errorf("certificate_profiles: %w", err))
	}
	if c.CRLListen != "" {
		if _, _, err := net.SplitHostPort(c.CRLListen); err != nil {
			errs = append(errs, fmt.Errorf("crl_listen: %q is not HOST:PORT", c.CRLListen))
		}
	}
	if c.CRLURL != "" {
		if u, err := url.Parse(c.CRLURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			errs = append(errs, fmt.Errorf("crl_url: %q is not a URL such as http://pki.example.com:8080", c.CRLURL))
		}
	}
	if c.CRLLife <= 0 {
		errs = append(errs, errors.New("crl_life must be positive, for example 168h"))
	}
	return errs
}
