package kmip

import "fmt"

// Version is a KMIP protocol version.
type Version struct{ Major, Minor int32 }

// The versions of the specification.
var (
	V1_0 = Version{1, 0}
	V1_1 = Version{1, 1}
	V1_2 = Version{1, 2}
	V1_3 = Version{1, 3}
	V1_4 = Version{1, 4}
	V2_0 = Version{2, 0}
	V2_1 = Version{2, 1}
)

// Before orders versions.
func (v Version) Before(o Version) bool {
	return v.Major < o.Major || v.Major == o.Major && v.Minor < o.Minor
}

// String is "major.minor".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Supported lists the versions that this package speaks, newest first.
var Supported = []Version{V1_4, V1_3, V1_2, V1_1, V1_0}
