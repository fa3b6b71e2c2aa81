package hsm

import p11 "github.com/miekg/pkcs11"

// fate says what a CKR_ code means for the session it came from and for the call.
type fate uint8

const (
	fateKeep    fate = iota // the session is as good as before
	fateDiscard             // close the session, open another
	fateStale               // a handle is no longer valid: look the object up again, which tells whether it is there
	fateDoor                // refused before anything was done: no session, no login, no module; heal and try again
	fateDevice              // the device failed somewhere in the call: heal; only reads are tried again
)

// verdict is what a CKR_ code means.
type verdict struct {
	kind Kind
	fate fate
}

// verdicts covers every CKR_ constant of PKCS#11 (section 5.1 of 2.40 and of 3.0). The names have gaps in
// miekg/pkcs11's error texts, so numbers are compared. Codes that are not here, vendor codes among them, are internal
// errors that cost the session.
var verdicts = map[uint]verdict{
	p11.CKR_OK:                               {0, fateKeep},
	p11.CKR_CANCEL:                           {KindUnavailable, fateDiscard},
	p11.CKR_HOST_MEMORY:                      {KindInternal, fateDiscard},
	p11.CKR_SLOT_ID_INVALID:                  {KindUnavailable, fateDoor},
	p11.CKR_GENERAL_ERROR:                    {KindInternal, fateDiscard},
	p11.CKR_FUNCTION_FAILED:                  {KindInternal, fateDiscard},
	p11.CKR_ARGUMENTS_BAD:                    {KindUnsupported, fateKeep},
	p11.CKR_NO_EVENT:                         {KindInternal, fateKeep},
	p11.CKR_NEED_TO_CREATE_THREADS:           {KindInternal, fateDiscard},
	p11.CKR_CANT_LOCK:                        {KindInternal, fateDiscard},
	p11.CKR_ATTRIBUTE_READ_ONLY:              {KindUnsupported, fateKeep},
	p11.CKR_ATTRIBUTE_SENSITIVE:              {KindNotExtractable, fateKeep},
	p11.CKR_ATTRIBUTE_TYPE_INVALID:           {KindUnsupported, fateKeep},
	p11.CKR_ATTRIBUTE_VALUE_INVALID:          {KindUnsupported, fateKeep},
	p11.CKR_ACTION_PROHIBITED:                {KindInvalidKey, fateKeep},
	p11.CKR_DATA_INVALID:                     {KindInvalidData, fateKeep},
	p11.CKR_DATA_LEN_RANGE:                   {KindInvalidData, fateKeep},
	p11.CKR_DEVICE_ERROR:                     {KindUnavailable, fateDevice},
	p11.CKR_DEVICE_MEMORY:                    {KindFull, fateDiscard},
	p11.CKR_DEVICE_REMOVED:                   {KindUnavailable, fateDevice},
	p11.CKR_ENCRYPTED_DATA_INVALID:           {KindInvalidData, fateKeep},
	p11.CKR_ENCRYPTED_DATA_LEN_RANGE:         {KindInvalidData, fateKeep},
	p11.CKR_FUNCTION_CANCELED:                {KindUnavailable, fateDiscard},
	p11.CKR_FUNCTION_NOT_PARALLEL:            {KindInternal, fateDiscard},
	p11.CKR_FUNCTION_NOT_SUPPORTED:           {KindUnsupported, fateKeep},
	p11.CKR_KEY_HANDLE_INVALID:               {KindUnavailable, fateStale},
	p11.CKR_KEY_SIZE_RANGE:                   {KindUnsupported, fateKeep},
	p11.CKR_KEY_TYPE_INCONSISTENT:            {KindInvalidKey, fateKeep},
	p11.CKR_KEY_NOT_NEEDED:                   {KindInternal, fateDiscard},
	p11.CKR_KEY_CHANGED:                      {KindInternal, fateDiscard},
	p11.CKR_KEY_NEEDED:                       {KindInternal, fateDiscard},
	p11.CKR_KEY_INDIGESTIBLE:                 {KindUnsupported, fateDiscard}, // the digest it was for stays active
	p11.CKR_KEY_FUNCTION_NOT_PERMITTED:       {KindInvalidKey, fateKeep},
	p11.CKR_KEY_NOT_WRAPPABLE:                {KindUnsupported, fateKeep},
	p11.CKR_KEY_UNEXTRACTABLE:                {KindNotExtractable, fateKeep},
	p11.CKR_MECHANISM_INVALID:                {KindUnsupported, fateKeep},
	p11.CKR_MECHANISM_PARAM_INVALID:          {KindUnsupported, fateKeep},
	p11.CKR_OBJECT_HANDLE_INVALID:            {KindUnavailable, fateStale},
	p11.CKR_OPERATION_ACTIVE:                 {KindUnavailable, fateDiscard},
	p11.CKR_OPERATION_NOT_INITIALIZED:        {KindInternal, fateDiscard},
	p11.CKR_PIN_INCORRECT:                    {KindUnavailable, fateDiscard},
	p11.CKR_PIN_INVALID:                      {KindUnavailable, fateDiscard},
	p11.CKR_PIN_LEN_RANGE:                    {KindUnavailable, fateDiscard},
	p11.CKR_PIN_EXPIRED:                      {KindUnavailable, fateDiscard},
	p11.CKR_PIN_LOCKED:                       {KindUnavailable, fateDiscard},
	p11.CKR_SESSION_CLOSED:                   {KindUnavailable, fateDoor},
	p11.CKR_SESSION_COUNT:                    {KindUnavailable, fateDiscard},
	p11.CKR_SESSION_HANDLE_INVALID:           {KindUnavailable, fateDoor},
	p11.CKR_SESSION_PARALLEL_NOT_SUPPORTED:   {KindInternal, fateDiscard},
	p11.CKR_SESSION_READ_ONLY:                {KindInternal, fateDiscard},
	p11.CKR_SESSION_EXISTS:                   {KindInternal, fateDiscard},
	p11.CKR_SESSION_READ_ONLY_EXISTS:         {KindInternal, fateDiscard},
	p11.CKR_SESSION_READ_WRITE_SO_EXISTS:     {KindUnavailable, fateDiscard},
	p11.CKR_SIGNATURE_INVALID:                {KindInvalidData, fateKeep},
	p11.CKR_SIGNATURE_LEN_RANGE:              {KindInvalidData, fateKeep},
	p11.CKR_TEMPLATE_INCOMPLETE:              {KindUnsupported, fateKeep},
	p11.CKR_TEMPLATE_INCONSISTENT:            {KindUnsupported, fateKeep},
	p11.CKR_TOKEN_NOT_PRESENT:                {KindUnavailable, fateDoor},
	p11.CKR_TOKEN_NOT_RECOGNIZED:             {KindUnavailable, fateDoor},
	p11.CKR_TOKEN_WRITE_PROTECTED:            {KindUnavailable, fateKeep},
	p11.CKR_UNWRAPPING_KEY_HANDLE_INVALID:    {KindUnavailable, fateStale},
	p11.CKR_UNWRAPPING_KEY_SIZE_RANGE:        {KindUnsupported, fateKeep},
	p11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT: {KindInvalidKey, fateKeep},
	p11.CKR_USER_ALREADY_LOGGED_IN:           {KindInternal, fateKeep},
	p11.CKR_USER_NOT_LOGGED_IN:               {KindUnavailable, fateDoor},
	p11.CKR_USER_PIN_NOT_INITIALIZED:         {KindUnavailable, fateDiscard},
	p11.CKR_USER_TYPE_INVALID:                {KindUnavailable, fateDiscard},
	p11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN:   {KindUnavailable, fateDiscard},
	p11.CKR_USER_TOO_MANY_TYPES:              {KindUnavailable, fateDiscard},
	p11.CKR_WRAPPED_KEY_INVALID:              {KindInvalidData, fateKeep},
	p11.CKR_WRAPPED_KEY_LEN_RANGE:            {KindInvalidData, fateKeep},
	p11.CKR_WRAPPING_KEY_HANDLE_INVALID:      {KindUnavailable, fateStale},
	p11.CKR_WRAPPING_KEY_SIZE_RANGE:          {KindUnsupported, fateKeep},
	p11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT:   {KindInvalidKey, fateKeep},
	p11.CKR_RANDOM_SEED_NOT_SUPPORTED:        {KindUnsupported, fateKeep},
	p11.CKR_RANDOM_NO_RNG:                    {KindUnsupported, fateKeep},
	p11.CKR_DOMAIN_PARAMS_INVALID:            {KindUnsupported, fateKeep},
	p11.CKR_CURVE_NOT_SUPPORTED:              {KindUnsupported, fateKeep},
	p11.CKR_BUFFER_TOO_SMALL:                 {KindInternal, fateDiscard}, // the operation stays active
	p11.CKR_SAVED_STATE_INVALID:              {KindInternal, fateDiscard},
	p11.CKR_INFORMATION_SENSITIVE:            {KindNotExtractable, fateKeep},
	p11.CKR_STATE_UNSAVEABLE:                 {KindInternal, fateDiscard},
	p11.CKR_CRYPTOKI_NOT_INITIALIZED:         {KindUnavailable, fateDoor},
	p11.CKR_CRYPTOKI_ALREADY_INITIALIZED:     {KindInternal, fateKeep},
	p11.CKR_MUTEX_BAD:                        {KindInternal, fateDiscard},
	p11.CKR_MUTEX_NOT_LOCKED:                 {KindInternal, fateDiscard},
	p11.CKR_NEW_PIN_MODE:                     {KindUnavailable, fateDiscard},
	p11.CKR_NEXT_OTP:                         {KindUnavailable, fateDiscard},
	p11.CKR_EXCEEDED_MAX_ITERATIONS:          {KindUnsupported, fateDiscard},
	p11.CKR_FIPS_SELF_TEST_FAILED:            {KindUnavailable, fateDevice},
	p11.CKR_LIBRARY_LOAD_FAILED:              {KindUnavailable, fateDiscard},
	p11.CKR_PIN_TOO_WEAK:                     {KindUnavailable, fateDiscard},
	p11.CKR_PUBLIC_KEY_INVALID:               {KindInvalidData, fateKeep},
	p11.CKR_FUNCTION_REJECTED:                {KindUnavailable, fateDiscard},
	p11.CKR_VENDOR_DEFINED:                   {KindInternal, fateDiscard},
}

// judge says what a code means when the call returned it.
func judge(call string, code uint) verdict {
	v, ok := verdicts[code]
	if !ok {
		return verdict{KindInternal, fateDiscard}
	}
	opens := call == "C_UnwrapKey" || call == "C_Decrypt"
	if opens && (code == p11.CKR_GENERAL_ERROR || code == p11.CKR_FUNCTION_FAILED) {
		// SoftHSM answers so to bad padding and bad integrity checks: a cryptographic failure, not ours.
		return verdict{KindInvalidData, fateDiscard}
	}
	if opens && code == p11.CKR_ARGUMENTS_BAD {
		return verdict{KindInvalidData, fateKeep} // NSS, to blobs above the modulus; the arguments are known to be good
	}
	return v
}
