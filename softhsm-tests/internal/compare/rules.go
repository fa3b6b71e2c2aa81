package compare

import (
	"kmipd/softhsm-tests/internal/registry"
)

// tagSet holds the tags that the rules name.
type tagSet struct {
	attribute, attributeName, attributeIndex, attributeValue                   uint32
	batchItem, operation, requestPayload, responsePayload, templateAttribute   uint32
	uniqueID, privateID, publicID, timeStamp, resultMessage, resultReason      uint32
	keyMaterial, keyValue, keyBlock, keyFormat, keyWrappingData, encryptionKey uint32
	hashingAlgorithm, digestValue, protocolVersion, locatedItems               uint32
	vendorIdentification, serverInformation, applicationNamespace              uint32
	extensionInformation, rngParameters, capabilityInformation                 uint32
	clientCorrelation, serverCorrelation, messageExtension, leaseTime          uint32
}

func newTagSet(r *registry.Registry) tagSet {
	t := r.MustTag
	return tagSet{
		attribute: t("Attribute"), attributeName: t("AttributeName"), attributeIndex: t("AttributeIndex"),
		attributeValue: t("AttributeValue"), batchItem: t("BatchItem"), operation: t("Operation"),
		requestPayload: t("RequestPayload"), responsePayload: t("ResponsePayload"),
		templateAttribute: t("TemplateAttribute"), uniqueID: t("UniqueIdentifier"),
		privateID: t("PrivateKeyUniqueIdentifier"), publicID: t("PublicKeyUniqueIdentifier"),
		timeStamp: t("TimeStamp"), resultMessage: t("ResultMessage"), resultReason: t("ResultReason"),
		keyMaterial: t("KeyMaterial"), keyValue: t("KeyValue"), keyBlock: t("KeyBlock"), keyFormat: t("KeyFormatType"),
		keyWrappingData: t("KeyWrappingData"), encryptionKey: t("EncryptionKeyInformation"),
		hashingAlgorithm: t("HashingAlgorithm"), digestValue: t("DigestValue"), protocolVersion: t("ProtocolVersion"),
		locatedItems: t("LocatedItems"), vendorIdentification: t("VendorIdentification"),
		serverInformation: t("ServerInformation"), applicationNamespace: t("ApplicationNamespace"),
		extensionInformation: t("ExtensionInformation"), rngParameters: t("RNGParameters"),
		capabilityInformation: t("CapabilityInformation"), clientCorrelation: t("ClientCorrelationValue"),
		serverCorrelation: t("ServerCorrelationValue"), messageExtension: t("MessageExtension"),
		leaseTime: t("LeaseTime"),
	}
}

// serverDates are the attributes whose value the server chooses unless the request fixed it (4.1.1 item 9).
var serverDates = map[string]bool{
	"Activation Date": true, "Archive Date": true, "Compromise Date": true, "Compromise Occurrence Date": true,
	"Deactivation Date": true, "Destroy Date": true, "Initial Date": true, "Last Change Date": true,
	"Protect Start Date": true, "Protect Stop Date": true, "Process Start Date": true, "Process Stop Date": true,
	"Validity Date": true, "Original Creation Date": true,
}

// freeAttributes may have any content of the right type (4.1.1, second list, item 7).
var freeAttributes = map[string]bool{"Random Number Generator": true}

// mayBeExtra are fields that an answer may hold although the case does not show them: correlation values (items 19 and
// 20), message extensions, Result Message, Located Items, the attributes that the server set implicitly at Create or
// Register (item 21; a Template-Attribute in the answer), and in Query what is the vendor's own.
func (c *comparison) mayBeExtra(tag uint32) bool {
	t := c.tags
	switch tag {
	case t.clientCorrelation, t.serverCorrelation, t.messageExtension, t.resultMessage, t.locatedItems, t.templateAttribute:
		return true
	case t.serverInformation:
		return c.operation == "Query"
	}
	return c.vendorOwn(tag)
}

// mayBeMissing are fields that the case shows and an answer may leave out (second list, items 4 and 6; Located Items
// because the specification lets a server omit it; 14 and 15: extensions and name spaces are the vendor's).
func (c *comparison) mayBeMissing(tag uint32) bool {
	return tag == c.tags.resultMessage || tag == c.tags.locatedItems || c.vendorOwn(tag)
}

// vendorOwn are fields of a Query answer that differ from vendor to vendor.
func (c *comparison) vendorOwn(tag uint32) bool {
	t := c.tags
	return c.operation == "Query" &&
		(tag == t.vendorIdentification || tag == t.applicationNamespace || tag == t.extensionInformation)
}

// anyContent are fields whose content the rules leave open once they are there with the right type: Result Message,
// vendor strings and Server Information (second list, items 4, 6 and 9), extensions and name spaces (14 and 15).
// Capability Information too: the two official cases that ask for it contradict each other, so they can only mean
// "whatever the server can do".
func (c *comparison) anyContent(tag uint32) bool {
	t := c.tags
	if tag == t.resultMessage || c.vendorOwn(tag) {
		return true
	}
	if tag == t.leaseTime && c.operation == "ObtainLease" { // the lease is the server's to choose; the cases show 0 and 16
		return true
	}
	return c.operation == "Query" && (tag == t.serverInformation || tag == t.capabilityInformation)
}

// unordered are the fields of a response payload that are sets: the server may give them in any order, and more of
// them than the case shows (items 16, 17 and 21; 4.1.2 item 5).
func (c *comparison) unordered() map[uint32]bool {
	t := c.tags
	switch c.operation {
	case "Query":
		return map[uint32]bool{
			t.operation: true, c.reg.MustTag("ObjectType"): true, c.reg.MustTag("ProfileInformation"): true,
			c.reg.MustTag("ClientRegistrationMethod"): true, t.rngParameters: true,
		}
	case "DiscoverVersions": // second list, item 5; the order among them is checked by versionOrder
		if !c.versionsAsked {
			return map[uint32]bool{t.protocolVersion: true}
		}
	case "GetAttributes", "Notify", "Put":
		return map[uint32]bool{t.attribute: true}
	case "GetAttributeList":
		return map[uint32]bool{t.attributeName: true}
	}
	return nil
}
