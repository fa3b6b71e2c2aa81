package hsm

import (
	"slices"

	p11 "github.com/miekg/pkcs11"
)

// Identity is what library, slot and token say of themselves (PKCS#11 3.0 sections 3.1 to 3.5), read by
// Open, and again when the token comes back after it was lost.
type Identity struct {
	Cryptoki            string `json:"cryptoki"` // version of the standard
	LibraryManufacturer string `json:"library_manufacturer"`
	SlotDescription     string `json:"slot_description"`
	SlotManufacturer    string `json:"slot_manufacturer"`
	HardwareVersion     string `json:"hardware_version"` // of the token
	FirmwareVersion     string `json:"firmware_version"` // of the token
	SlotFlags           uint   `json:"slot_flags"`       // CKF_ of CK_SLOT_INFO
	TokenFlags          uint   `json:"token_flags"`      // CKF_ of CK_TOKEN_INFO
	// Mechanisms are those that the token claims, by number.
	Mechanisms []MechanismClaim `json:"mechanisms"`
}

// MechanismClaim is one mechanism of C_GetMechanismList with its CK_MECHANISM_INFO.
type MechanismClaim struct {
	Code   uint `json:"mechanism"` // CKM_
	MinKey uint `json:"min_key_size"`
	MaxKey uint `json:"max_key_size"`
	Flags  uint `json:"flags"` // CKF_
}

// The flags that token checks look at.
const (
	SlotHardware             = p11.CKF_HW_SLOT
	TokenRNG                 = p11.CKF_RNG
	TokenWriteProtected      = p11.CKF_WRITE_PROTECTED
	TokenLoginRequired       = p11.CKF_LOGIN_REQUIRED
	TokenPINInitialized      = p11.CKF_USER_PIN_INITIALIZED
	TokenInitialized         = p11.CKF_TOKEN_INITIALIZED
	TokenPINFinalTry         = p11.CKF_USER_PIN_FINAL_TRY
	TokenPINLocked           = p11.CKF_USER_PIN_LOCKED
	TokenPINToBeChanged      = p11.CKF_USER_PIN_TO_BE_CHANGED
	TokenSOPINLocked         = p11.CKF_SO_PIN_LOCKED
	TokenErrorState     uint = 0x01000000 // CKF_ERROR_STATE, since PKCS#11 2.40
)

// identify reads the identity of a token. A token that does not describe one of its mechanisms still has it.
func (m *module) identify(slot uint, token p11.TokenInfo, lib p11.Info) (Identity, error) {
	s, err := m.ctx.GetSlotInfo(slot)
	if err := m.result("C_GetSlotInfo", err); err != nil {
		return Identity{}, err
	}
	id := Identity{
		Cryptoki: version(lib.CryptokiVersion), LibraryManufacturer: trim(lib.ManufacturerID),
		SlotDescription: trim(s.SlotDescription), SlotManufacturer: trim(s.ManufacturerID), SlotFlags: s.Flags,
		HardwareVersion: version(token.HardwareVersion), FirmwareVersion: version(token.FirmwareVersion), TokenFlags: token.Flags,
	}
	list, err := m.ctx.GetMechanismList(slot)
	if err := m.result("C_GetMechanismList", err); err != nil {
		return Identity{}, err
	}
	for _, mech := range list {
		claim := MechanismClaim{Code: mech.Mechanism}
		info, err := m.ctx.GetMechanismInfo(slot, []*p11.Mechanism{mech})
		if m.result("C_GetMechanismInfo", err) == nil {
			claim.MinKey, claim.MaxKey, claim.Flags = info.MinKeySize, info.MaxKeySize, info.Flags
		}
		id.Mechanisms = append(id.Mechanisms, claim)
	}
	slices.SortFunc(id.Mechanisms, func(a, b MechanismClaim) int { return int(a.Code) - int(b.Code) })
	return id, nil
}
