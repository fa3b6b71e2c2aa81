package keystore

import (
	"context"
	"runtime"
	"slices"

	"kmipd/kmip"
)

// The extension tags of the Server Information structure.
const (
	tagProduct      = 0x540101
	tagVersion      = 0x540102
	tagServerType   = 0x540103
	tagBuild        = 0x540104
	tagAddress      = 0x540105
	tagTokenMaker   = 0x540106
	tagTokenModel   = 0x540107
	tagTokenFirm    = 0x540108
	tagPolicy       = 0x540109
	serverTypeAlone = "none" // not part of a cluster
)

// Describe answers Query from the live server and token, by the policy that holds for the call, from the facts that evidence
// reports have.
func (s *Store) Describe(ctx context.Context, call *kmip.Call) (kmip.ServerDescription, error) {
	info := s.token.Info()
	d := kmip.ServerDescription{
		ObjectTypes: []kmip.ObjectType{
			kmip.ObjectTypeCertificate, kmip.ObjectTypeSymmetricKey, kmip.ObjectTypePublicKey, kmip.ObjectTypePrivateKey,
			kmip.ObjectTypeSplitKey, kmip.ObjectTypeTemplate, kmip.ObjectTypeSecretData, kmip.ObjectTypeOpaqueObject,
			kmip.ObjectTypePGPKey,
		},
		Vendor: "kmipd",
		ServerInformation: []kmip.ServerField{
			{Tag: tagProduct, Value: "kmipd"},
			{Tag: tagVersion, Value: s.cfg.Version},
			{Tag: tagServerType, Value: serverTypeAlone},
			{Tag: tagBuild, Value: runtime.Version()},
		},
		Certifies:   s.certifies(ctx),
		OnlyQuery:   s.inOrder() != nil,
		Extensions:  serverExtensions,
		RNGs:        []kmip.RNGParameters{s.rng()},
		Profiles:    s.profilesOf(call),
		Validations: s.validations(),
		Unavailable: s.unavailable(),
		Capabilities: []kmip.CapabilityInformation{{
			StreamingCapability: ptr(true), AsynchronousCapability: ptr(false), AttestationCapability: ptr(false),
			BatchUndoCapability: ptr(true), BatchContinueCapability: ptr(true),
			UnwrapMode: kmip.UnwrapModeProcessed, DestroyAction: kmip.DestroyActionKeyMaterialDeleted,
			ShreddingAlgorithm: kmip.ShreddingAlgorithmUnsupported, RNGMode: kmip.RNGModeNonSharedInstantiation,
		}},
		RegistrationMethods: []kmip.ClientRegistrationMethod{
			kmip.ClientRegistrationMethodServerPreGenerated, kmip.ClientRegistrationMethodClientRegistered,
		},
	}
	if call.Caller.Client != "" {
		// What an attacker could use to choose an exploit is for registered clients.
		d.ServerInformation = append(d.ServerInformation,
			kmip.ServerField{Tag: tagTokenMaker, Value: info.Manufacturer},
			kmip.ServerField{Tag: tagTokenModel, Value: info.Model},
			kmip.ServerField{Tag: tagTokenFirm, Value: info.Firmware},
			kmip.ServerField{Tag: tagPolicy, Value: s.policyOf(call).Name()})
	}
	return d, nil
}

// certifies tells whether an authority can sign now. Query answers without a token, too: then none can.
func (s *Store) certifies(ctx context.Context) bool {
	if s.inOrder() != nil {
		return false
	}
	list, err := s.authorities(ctx)
	if err != nil {
		s.log.Error().Err(err).Msg("loading the certification authorities")
		return false
	}
	now := s.cfg.Clock()
	return slices.ContainsFunc(list, func(a *authority) bool { return a.signsAt(now) })
}

// serverExtensions describes the extension tags that the server uses, for Query Extension List and Map.
var serverExtensions = func() []kmip.ExtensionInformation {
	names := []struct {
		tag  int32
		name string
	}{{tagProduct, "Product"}, {tagVersion, "Product Version"}, {tagServerType, "Server Type"}, {tagBuild, "Build"},
		{tagTokenMaker, "Token Manufacturer"}, {tagTokenModel, "Token Model"}, {tagTokenFirm, "Token Firmware"},
		{tagPolicy, "Policy"}}
	out := make([]kmip.ExtensionInformation, len(names))
	for i, n := range names {
		out[i] = kmip.ExtensionInformation{ExtensionName: n.name, ExtensionTag: ptr(n.tag), ExtensionType: ptr(int32(7))}
	}
	return out
}()

// profiles are the Profile Names whose every duty the server fulfils with the operations it has.
var profiles = func() []kmip.ProfileInformation {
	names := []kmip.ProfileName{
		kmip.ProfileNameTapeLibraryServerKMIPV1_0, kmip.ProfileNameTapeLibraryServerKMIPV1_1,
		kmip.ProfileNameTapeLibraryServerKMIPV1_2, kmip.ProfileNameTapeLibraryServerKMIPV1_3,
		kmip.ProfileNameTapeLibraryServerKMIPV1_4,
		kmip.ProfileNameSymmetricKeyLifecycleServerKMIPV1_0, kmip.ProfileNameSymmetricKeyLifecycleServerKMIPV1_1,
		kmip.ProfileNameSymmetricKeyLifecycleServerKMIPV1_2, kmip.ProfileNameSymmetricKeyLifecycleServerKMIPV1_3,
		kmip.ProfileNameSymmetricKeyLifecycleServerKMIPV1_4,
		kmip.ProfileNameAsymmetricKeyLifecycleServerKMIPV1_0, kmip.ProfileNameAsymmetricKeyLifecycleServerKMIPV1_1,
		kmip.ProfileNameAsymmetricKeyLifecycleServerKMIPV1_2, kmip.ProfileNameAsymmetricKeyLifecycleServerKMIPV1_3,
		kmip.ProfileNameAsymmetricKeyLifecycleServerKMIPV1_4,
		kmip.ProfileNameSymmetricKeyFoundryServerKMIPV1_0, kmip.ProfileNameSymmetricKeyFoundryServerKMIPV1_1,
		kmip.ProfileNameSymmetricKeyFoundryServerKMIPV1_2, kmip.ProfileNameSymmetricKeyFoundryServerKMIPV1_3,
		kmip.ProfileNameSymmetricKeyFoundryServerKMIPV1_4,
		kmip.ProfileNameOpaqueManagedObjectStoreServerKMIPV1_0, kmip.ProfileNameOpaqueManagedObjectStoreServerKMIPV1_1,
		kmip.ProfileNameOpaqueManagedObjectStoreServerKMIPV1_2, kmip.ProfileNameOpaqueManagedObjectStoreServerKMIPV1_3,
		kmip.ProfileNameOpaqueManagedObjectStoreServerKMIPV1_4,
		kmip.ProfileNameStorageArrayWithSelfEncryptingDriveServerKMIPV1_0,
		kmip.ProfileNameStorageArrayWithSelfEncryptingDriveServerKMIPV1_1,
		kmip.ProfileNameStorageArrayWithSelfEncryptingDriveServerKMIPV1_2,
		kmip.ProfileNameStorageArrayWithSelfEncryptingDriveServerKMIPV1_3,
		kmip.ProfileNameStorageArrayWithSelfEncryptingDriveServerKMIPV1_4,
		kmip.ProfileNameBasicCryptographicServerKMIPV1_2, kmip.ProfileNameBasicCryptographicServerKMIPV1_3,
		kmip.ProfileNameBasicCryptographicServerKMIPV1_4,
		kmip.ProfileNameAdvancedCryptographicServerKMIPV1_2, kmip.ProfileNameAdvancedCryptographicServerKMIPV1_3,
		kmip.ProfileNameAdvancedCryptographicServerKMIPV1_4,
		kmip.ProfileNameRNGCryptographicServerKMIPV1_2, kmip.ProfileNameRNGCryptographicServerKMIPV1_3,
		kmip.ProfileNameRNGCryptographicServerKMIPV1_4,
	}
	out := make([]kmip.ProfileInformation, len(names))
	for i, n := range names {
		out[i].ProfileName = n
	}
	return out
}()

func ptr[T any](v T) *T { return &v }
