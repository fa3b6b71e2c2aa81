package oasis

// Versions are the protocol versions whose cases a run plays.
var Versions = []string{"1.0", "1.1", "1.4"}

// Operations are what the server does; a case that needs another one is out of scope. Extend the list with the server.
var Operations = []string{
	"DiscoverVersions", "Query", "Create", "CreateKeyPair", "Register", "ReKey", "ReKeyKeyPair", "Archive", "Recover", "Certify", "ReCertify", "Validate", "Poll", "Cancel", "Notify", "Put",
	"ObtainLease", "GetUsageAllocation", "Get", "GetAttributes", "GetAttributeList",
	"AddAttribute", "ModifyAttribute", "DeleteAttribute", "Locate", "Check", "Activate", "Revoke", "Destroy",
	"Encrypt", "Decrypt", "Sign", "SignatureVerify", "MAC", "MACVerify", "RNGRetrieve", "RNGSeed", "Hash",
	"DeriveKey", "CreateSplitKey", "JoinSplitKey",
}
