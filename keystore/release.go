package keystore

import (
	"kmipd/fips"
	"kmipd/kmip"
	"kmipd/metadata"
)

// Release is how far key material may leave the server (architecture section 3).
type Release string

// The release policies, from the strictest on.
const (
	ReleaseNone    Release = "none"    // in place: keys are used and do not leave
	ReleaseWrapped Release = "wrapped" // keys leave under a wrapping key alone
	ReleaseClear   Release = "clear"   // keys leave as their Sensitive and Extractable say
)

// Releases are all of them.
func Releases() []Release { return []Release{ReleaseNone, ReleaseWrapped, ReleaseClear} }

func (r Release) rank() int {
	switch r {
	case ReleaseNone:
		return 0
	case ReleaseWrapped:
		return 1
	case ReleaseClear:
	}
	return 2 // "" is as ReleaseClear
}

// DefaultRelease is what holds where nothing is said: in clear in the default policy, wrapped in the strict ones.
func DefaultRelease(p *fips.Policy) Release {
	if p.Strict() {
		return ReleaseWrapped
	}
	return ReleaseClear
}

// releaseOf is the release policy for a call: the server's, or a stricter one of the client's group. A listener with a
// strict policy releases nothing in clear on a server that says nothing else.
func (s *Store) releaseOf(call *kmip.Call) Release {
	r := s.cfg.Release
	if r == "" {
		r = DefaultRelease(s.policyOf(call))
	}
	return stricter(r, s.cfg.Groups[s.clients.group(call.Caller.Client)].Release)
}

// stricter is the stricter one of two; "" for the second says nothing.
func stricter(r, more Release) Release {
	if more != "" && more.rank() < r.rank() {
		return more
	}
	return r
}

// bears tells the objects that bear key material.
func (o object) bears() bool {
	switch o.ObjectType {
	case kmip.ObjectTypeSymmetricKey, kmip.ObjectTypePrivateKey, kmip.ObjectTypeSecretData, kmip.ObjectTypeSplitKey, kmip.ObjectTypePGPKey:
		return true
	}
	return false
}

// restrain gives a new object the release class that the policy leaves it: with none its key is made not to leave the token,
// with wrapped to leave it under a wrapping key alone. An object that asks for more is refused.
func (s *Store) restrain(call *kmip.Call, o object) error {
	r := s.releaseOf(call)
	if !o.bears() || r == ReleaseClear {
		return nil
	}
	switch v := o.get("Extractable"); {
	case r != ReleaseNone:
	case v.IsZero():
		o.put("Extractable", boolValue(false))
	case v.Bool():
		return badField("Extractable must be false: the release policy is %s", r)
	}
	switch v := o.get("Sensitive"); {
	case v.IsZero():
		o.put("Sensitive", boolValue(true))
	case !v.Bool():
		return badField("Sensitive must be true: the release policy is %s", r)
	}
	return nil
}

// laxer tells an attribute of an older object by which it leaves more easily than the release policy has it now. The object
// that takes its place does not inherit it.
func (s *Store) laxer(call *kmip.Call, o object, a metadata.Attribute) bool {
	switch r := s.releaseOf(call); {
	case !o.bears() || r == ReleaseClear:
	case a.Name == "Sensitive":
		return !a.Value.Bool()
	case a.Name == "Extractable":
		return r == ReleaseNone && a.Value.Bool()
	}
	return false
}

// mayRelease refuses what the release policy does not let leave, whatever the object's attributes say: objects may be older
// than the policy.
func (s *Store) mayRelease(call *kmip.Call, o object, wrapped bool) error {
	if !o.bears() {
		return nil
	}
	switch r := s.releaseOf(call); {
	case r == ReleaseNone:
		return kmip.Errorf(kmip.ResultReasonNotExtractable, "the release policy is %s: keys do not leave the server", r)
	case r == ReleaseWrapped && !wrapped:
		return kmip.Errorf(kmip.ResultReasonSensitive, "the release policy is %s: keys leave only with a Key Wrapping Specification", r)
	}
	return nil
}
