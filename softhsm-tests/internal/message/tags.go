// Package message builds the KMIP 1.x requests that the crash, load and hostility tests send, and takes answers apart.
//
// The numbers are written out here (KMIP 1.4 section 9.1.3) and not imported from kmipd/kmip, so that these tests see
// the protocol as a client of another make would.
package message

// Tags.
const (
	tagAttribute              = 0x420008
	tagAttributeIndex         = 0x420009
	tagAttributeName          = 0x42000A
	tagAttributeValue         = 0x42000B
	tagBatchCount             = 0x42000D
	tagBatchItem              = 0x42000F
	tagBlockCipherMode        = 0x420011
	tagCommonTemplate         = 0x42001F
	tagCryptographicAlgorithm = 0x420028
	tagCryptographicLength    = 0x42002A
	tagDomainParameters       = 0x420029
	tagCryptographicParams    = 0x42002B
	tagEncryptionKeyInfo      = 0x420036
	tagKeyBlock               = 0x420040
	tagKeyFormatType          = 0x420042
	tagKeyMaterial            = 0x420043
	tagKeyValue               = 0x420045
	tagKeyWrappingSpec        = 0x420047
	tagLinkedObjectID         = 0x42004C
	tagMaximumItems           = 0x42004F
	tagNameType               = 0x420054
	tagNameValue              = 0x420055
	tagObjectType             = 0x420057
	tagOperation              = 0x42005C
	tagPrivateKeyTemplate     = 0x420065
	tagPrivateKeyID           = 0x420066
	tagProtocolVersion        = 0x420069
	tagVersionMajor           = 0x42006A
	tagVersionMinor           = 0x42006B
	tagPublicKeyTemplate      = 0x42006E
	tagPublicKeyID            = 0x42006F
	tagQueryFunction          = 0x420074
	tagRecommendedCurve       = 0x420075
	tagRequestHeader          = 0x420077
	tagRequestMessage         = 0x420078
	tagRequestPayload         = 0x420079
	tagResponseMessage        = 0x42007B
	tagResponsePayload        = 0x42007C
	tagResultMessage          = 0x42007D
	tagResultReason           = 0x42007E
	tagResultStatus           = 0x42007F
	tagRevocationReason       = 0x420081
	tagRevocationReasonCode   = 0x420082
	tagSymmetricKey           = 0x42008F
	tagTemplateAttribute      = 0x420091
	tagUniqueIdentifier       = 0x420094
	tagUniqueBatchItemID      = 0x420093
	tagWrappingMethod         = 0x42009E
	tagEncodingOption         = 0x4200A3
)

// Operations.
const (
	OpCreate           = 0x01
	OpCreateKeyPair    = 0x02
	OpRegister         = 0x03
	OpLocate           = 0x08
	OpGet              = 0x0A
	OpGetAttributes    = 0x0B
	OpAddAttribute     = 0x0D
	OpModifyAttribute  = 0x0E
	OpActivate         = 0x12
	OpRevoke           = 0x13
	OpDestroy          = 0x14
	OpQuery            = 0x18
	OpDiscoverVersions = 0x1E
)

// Result reasons.
const (
	ReasonItemNotFound     = 0x01
	ReasonResponseTooLarge = 0x02
	ReasonInvalidMessage   = 0x04
	ReasonPermissionDenied = 0x0C
)

// States.
const (
	StatePreActive            = 1
	StateActive               = 2
	StateDeactivated          = 3
	StateCompromised          = 4
	StateDestroyed            = 5
	StateDestroyedCompromised = 6
)

// Other enumerations and masks.
const (
	objectSymmetricKey = 2
	algorithmAES       = 3
	algorithmEC        = 6 // ECDSA
	formatRaw          = 1
	nameUninterpreted  = 1
	revocationCeased   = 6 // Cessation of Operation
	revocationKeyComp  = 2 // Key Compromise
	wrapEncrypt        = 1
	modeNISTKeyWrap    = 0x0D
	encodingNone       = 1
	maskSign           = 0x01
	maskVerify         = 0x02
	maskEncryptDecrypt = 0x0C
	maskWrapUnwrap     = 0x30
	queryOperations    = 1
	curveP256          = 7
	statusSuccess      = 0
)
