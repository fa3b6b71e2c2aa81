"""What the Python KMIP client does, against a running kmipd, in every KMIP 1.x version it speaks.

Usage: pykmip_flow.py DIR HOST:PORT
Prints a line for each step and ends with status 1 at the first wrong result.
"""

import hashlib
import hmac
import os
import sys
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from kmip.core.messages import contents

from pykmip_client import (Material, Steps, attribute, connect, enums, objects, refused, register_with, same, true)

AES = enums.CryptographicAlgorithm.AES
A = enums.AttributeType
MASK = enums.CryptographicUsageMask
REASON = enums.ResultReason
CRYPT = [MASK.ENCRYPT, MASK.DECRYPT]

WRONG_STATE = [REASON.PERMISSION_DENIED, REASON.ILLEGAL_OPERATION]

# Attributes that the library cannot decode: it knows no type for them, or wants the 1.1 form of Digest in 1.0 too.
UNREADABLE = ("Digest", "Key Value Present", "Original Creation Date", "Random Number Generator", "Always Sensitive",
              "Extractable", "Never Extractable")

VERSIONS = [enums.KMIPVersion.KMIP_1_0, enums.KMIPVersion.KMIP_1_1, enums.KMIPVersion.KMIP_1_2,
            enums.KMIPVersion.KMIP_1_3, enums.KMIPVersion.KMIP_1_4]


class Flow:
    """One run in one version. Names carry a mark so that runs do not see each other's objects."""

    def __init__(self, client, version, material):
        self.c, self.version, self.m = client, version, material
        self.mark = "pykmip-%s-%d-" % (version.name, os.getpid())
        self.step = Steps(version.name)
        self.made = []

    def run(self):
        for part in (self.information, self.symmetric, self.wrapped, self.pairs, self.asymmetric, self.others,
                     self.services, self.deriving, self.rekeying, self.locating, self.attributes, self.life_cycle,
                     self.refusals, self.cleanup):
            self.part(part)
        return self.step.count

    def part(self, part):
        try:
            part()
        except Exception as e:  # a result that the next step needed is missing
            self.step("the rest of " + part.__name__, self.fail, e)

    @staticmethod
    def fail(problem):
        raise problem

    def keep(self, uid):
        true(isinstance(uid, str) and uid, "the identifier is %r" % (uid,))
        self.made.append(uid)
        return uid

    # Query and Discover Versions

    def information(self):
        def query():
            wanted = [enums.QueryFunction.QUERY_OPERATIONS, enums.QueryFunction.QUERY_OBJECTS,
                      enums.QueryFunction.QUERY_SERVER_INFORMATION]
            result = self.c.proxy.query(query_functions=wanted)
            same(result.result_status.value, enums.ResultStatus.SUCCESS)
            operations = set(result.operations)
            for op in (enums.Operation.CREATE, enums.Operation.GET, enums.Operation.LOCATE, enums.Operation.DESTROY):
                true(op in operations, "Query does not list %s" % op)
            true(enums.ObjectType.SYMMETRIC_KEY in result.object_types,
                 "Query does not list Symmetric Key: %r" % (result.object_types,))

        def versions(asked, want):
            result = self.c.proxy.discover_versions(protocol_versions=asked)
            same(result.result_status.value, enums.ResultStatus.SUCCESS)
            return [(v.major, v.minor) for v in result.protocol_versions] if want is None else same(
                [(v.major, v.minor) for v in result.protocol_versions], want)

        self.step("query", query)
        if self.version == enums.KMIPVersion.KMIP_1_0:
            return  # Discover Versions came with 1.1
        got = self.step("discover versions", versions, None, None)
        self.step("newest version first", lambda: same(got, sorted(got, reverse=True)))
        self.step("discover 1.1 only", versions, [contents.ProtocolVersion(1, 1)], [(1, 1)])
        self.step("discover an unknown version", versions, [contents.ProtocolVersion(9, 9)], [])

    # Symmetric keys

    def symmetric(self):
        for bits in (128, 192, 256):
            name = self.mark + "aes-%d" % bits
            uid = self.keep(self.step("create AES-%d" % bits, self.c.create, AES, bits, name=name,
                                      cryptographic_usage_mask=CRYPT))
            key = self.step("get it", self.c.get, uid)
            self.step("its size and algorithm", lambda: same(
                (len(key.value) * 8, key.cryptographic_length, key.cryptographic_algorithm), (bits, bits, AES)))
            self.step("get it again", lambda: same(self.c.get(uid).value, key.value))
            value = bytes(range(bits // 8))
            uid = self.keep(self.step("register AES-%d" % bits, self.c.register,
                                      objects.SymmetricKey(AES, bits, value, CRYPT, self.mark + "reg-%d" % bits)))
            self.step("get what was registered", lambda: same(self.c.get(uid).value, value))
        uid = self.keep(self.step("create with a policy name", self.c.create, AES, 256, operation_policy_name="default",
                                  name=self.mark + "policy"))
        self.step("the policy name", lambda: same(self.text(uid, "Operation Policy Name"), "default"))

    def wrapped(self):
        kek_value, value = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")
        kek = self.keep(self.step("register a wrapping key", self.c.register, objects.SymmetricKey(
            AES, 128, kek_value, [MASK.WRAP_KEY, MASK.UNWRAP_KEY], self.mark + "kek")))
        # RFC 3394 section 4.1
        blob = bytes.fromhex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5")
        information = {"unique_identifier": kek,
                       "cryptographic_parameters": {"block_cipher_mode": enums.BlockCipherMode.NIST_KEY_WRAP}}
        spec = {"wrapping_method": enums.WrappingMethod.ENCRYPT, "encryption_key_information": information,
                "encoding_option": enums.EncodingOption.NO_ENCODING}
        if self.version == enums.KMIPVersion.KMIP_1_0:
            return  # 1.0 has no Encoding Option: wrapping means the encoded Key Value there
        key = objects.SymmetricKey(AES, 128, blob, CRYPT, self.mark + "dek", key_wrapping_data=spec)
        self.step("registering under a pre-active wrapping key is refused", refused, WRONG_STATE, self.c.register, key)
        self.step("activate the wrapping key", self.c.activate, kek)
        uid = self.keep(self.step("register a wrapped key", self.c.register, key))
        # The library reads and writes a wrapped Key Value as a structure only. The standard has a Byte String, so this
        # is the one form in which a wrapped key goes both ways: the server gives it back as it was registered.
        got = self.step("get it wrapped", self.c.get, uid, spec)
        self.step("the wrapped bytes", lambda: same(got.value.hex(), blob.hex()))
        self.step("the wrapping data", lambda: same(
            got.key_wrapping_data["encryption_key_information"]["unique_identifier"], kek))
        if self.version == enums.KMIPVersion.KMIP_1_4:
            return  # a Get without Key Wrap Type may answer as registered there
        self.step("get it unwrapped", lambda: same(self.c.get(uid).value, value))

    # Key pairs

    def pairs(self):
        for algorithm, bits in ((enums.CryptographicAlgorithm.RSA, 2048), (enums.CryptographicAlgorithm.ECDSA, 256)):
            label = "%s-%d" % (algorithm.name, bits)
            public, private = self.step(
                "create key pair " + label, self.c.create_key_pair, algorithm, bits,
                public_name=self.mark + label + "-pub", public_usage_mask=[MASK.VERIFY],
                private_name=self.mark + label + "-priv", private_usage_mask=[MASK.SIGN])
            self.keep(public), self.keep(private)
            self.step("their types", lambda: same(
                [self.value(public, "Object Type"), self.value(private, "Object Type")],
                [enums.ObjectType.PUBLIC_KEY, enums.ObjectType.PRIVATE_KEY]))
            if algorithm == enums.CryptographicAlgorithm.RSA:
                key = self.step("get the public key", self.c.get, public)
                self.step("its length", lambda: same(key.cryptographic_length, bits))

    def asymmetric(self):
        rsa, m = enums.CryptographicAlgorithm.RSA, self.m
        for label, obj in (
                ("RSA public key (PKCS#1)", objects.PublicKey(rsa, 2048, m.rsa_public_pkcs1, enums.KeyFormatType.PKCS_1,
                                                              [MASK.VERIFY], self.mark + "pub1")),
                ("RSA public key (X.509)", objects.PublicKey(rsa, 2048, m.rsa_public_x509, enums.KeyFormatType.X_509,
                                                             [MASK.VERIFY], self.mark + "pub2")),
                ("RSA private key (PKCS#1)", objects.PrivateKey(rsa, 2048, m.rsa_pkcs1, enums.KeyFormatType.PKCS_1,
                                                                [MASK.SIGN], self.mark + "priv1")),
                ("RSA private key (PKCS#8)", objects.PrivateKey(rsa, 2048, m.rsa_pkcs8, enums.KeyFormatType.PKCS_8,
                                                                [MASK.SIGN], self.mark + "priv2")),
                ("certificate", objects.X509Certificate(m.certificate, [MASK.VERIFY], self.mark + "cert"))):
            self.round_trip(label, obj)

    # Secret data, opaque objects, split keys

    def others(self):
        self.round_trip("password", objects.SecretData(
            b"correct horse battery staple", enums.SecretDataType.PASSWORD, [MASK.VERIFY], self.mark + "password"))
        self.round_trip("seed", objects.SecretData(
            bytes(range(96)), enums.SecretDataType.SEED, [MASK.DERIVE_KEY], self.mark + "seed"))
        self.round_trip("opaque object", objects.OpaqueObject(
            b"\x00\x01 any octets \xff" * 40, enums.OpaqueDataType.NONE, self.mark + "opaque"))
        self.round_trip("split key", objects.SplitKey(
            cryptographic_algorithm=AES, cryptographic_length=128, key_value=bytes(range(16)),
            cryptographic_usage_masks=[MASK.EXPORT], name=self.mark + "split",
            key_format_type=enums.KeyFormatType.RAW, split_key_parts=3, key_part_identifier=1, split_key_threshold=2,
            split_key_method=enums.SplitKeyMethod.XOR, prime_field_size=None))

    def round_trip(self, label, obj):
        uid = self.keep(self.step("register " + label, self.c.register, obj))
        got = self.step("get the " + label, self.c.get, uid)
        self.step("its bytes", lambda: same(got.value, obj.value))
        self.step("its type", lambda: same(type(got), type(obj)))

    # Cryptographic services (since 1.2)

    def services(self):
        if self.version.value < enums.KMIPVersion.KMIP_1_2.value:
            return
        self.encryption()
        self.signatures()

    def active(self, obj):
        uid = self.keep(self.c.register(obj))
        self.c.activate(uid)
        return uid

    def encryption(self):
        text, iv = b"attack at dawn", bytes(range(16))
        cbc = {"block_cipher_mode": enums.BlockCipherMode.CBC, "padding_method": enums.PaddingMethod.PKCS5}
        uid = self.active(objects.SymmetricKey(AES, 256, bytes(range(32)), CRYPT + [MASK.MAC_GENERATE]))
        other = Cipher(algorithms.AES(bytes(range(32))), modes.CBC(iv)).encryptor()
        want = other.update(text + b"\x02\x02") + other.finalize()
        got, _ = self.step("encrypt", self.c.encrypt, text, uid, cbc, iv)
        self.step("another implementation encrypts alike", lambda: same(got, want))
        self.step("decrypt", lambda: same(self.c.decrypt(got, uid, cbc, iv), text))
        random = dict(cbc, random_iv=True)
        hidden, chosen = self.step("encrypt with an IV of the server", self.c.encrypt, text, uid, random)
        self.step("decrypt with that IV", lambda: same(self.c.decrypt(hidden, uid, cbc, chosen), text))
        self.step("no IV is refused", refused, REASON.INVALID_MESSAGE, self.c.encrypt, text, uid, cbc)
        self.step("a short IV is refused", refused, REASON.INVALID_FIELD, self.c.encrypt, text, uid, cbc, iv[:8])
        _, code = self.step("MAC", self.c.mac, text, uid, enums.CryptographicAlgorithm.HMAC_SHA256)
        self.step("its value", lambda: same(code, hmac.new(bytes(range(32)), text, "sha256").digest()))
        self.c.revoke(enums.RevocationReasonCode.SUPERSEDED, uid)
        self.step("a deactivated key does not encrypt", refused, REASON.PERMISSION_DENIED, self.c.encrypt, text, uid, cbc, iv)
        self.step("it decrypts", lambda: same(self.c.decrypt(got, uid, cbc, iv), text))

    def signatures(self):
        rsa, data = enums.CryptographicAlgorithm.RSA, b"to be signed"
        private = self.active(objects.PrivateKey(rsa, 2048, self.m.rsa_pkcs8, enums.KeyFormatType.PKCS_8, [MASK.SIGN]))
        public = self.active(objects.PublicKey(rsa, 2048, self.m.rsa_public_x509, enums.KeyFormatType.X_509, [MASK.VERIFY]))
        for scheme in (enums.PaddingMethod.PKCS1v15, enums.PaddingMethod.PSS):
            how = {"padding_method": scheme, "cryptographic_algorithm": rsa, "hashing_algorithm": enums.HashingAlgorithm.SHA_256}
            sig = self.step("sign, " + scheme.name, self.c.sign, data, private, how)
            padding_of = padding.PKCS1v15() if scheme == enums.PaddingMethod.PKCS1v15 else padding.PSS(
                padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            self.step("another implementation verifies", self.m.rsa.public_key().verify, sig, data, padding_of, hashes.SHA256())
            self.step("verify", lambda: same(
                self.c.signature_verify(data, sig, public, how), enums.ValidityIndicator.VALID))
            self.step("other data", lambda: same(
                self.c.signature_verify(data + b".", sig, public, how), enums.ValidityIndicator.INVALID))

    # Derived and replacement keys

    def deriving(self):
        key, data, method = bytes(range(32)), b"purpose", enums.DerivationMethod
        base = self.active(objects.SymmetricKey(AES, 256, key, CRYPT + [MASK.DERIVE_KEY],
            name=self.mark + "base"))
        sha256 = {"cryptographic_parameters": {"hashing_algorithm": enums.HashingAlgorithm.SHA_256}, "derivation_data": data}
        self.derived("HMAC", [base], method.HMAC, sha256, hmac.new(key, data, "sha256").digest()[:16])
        cbc = {"block_cipher_mode": enums.BlockCipherMode.CBC, "padding_method": enums.PaddingMethod.PKCS5}
        cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
        self.derived("encryption", [base], method.ENCRYPT, {"cryptographic_parameters": cbc, "initialization_vector": bytes(16),
            "derivation_data": data}, cipher.update(data + b"\x09" * 9) + cipher.finalize())
        password = self.active(objects.SecretData(b"password", enums.SecretDataType.PASSWORD, [MASK.DERIVE_KEY],
            name=self.mark + "base password"))
        self.derived("PBKDF2", [password], method.PBKDF2, {"cryptographic_parameters": {
            "hashing_algorithm": enums.HashingAlgorithm.SHA_1}, "salt": b"salt", "iteration_count": 4096},
            hashlib.pbkdf2_hmac("sha1", b"password", b"salt", 4096, 16))
        other = self.active(objects.SymmetricKey(AES, 256, key, CRYPT, name=self.mark + "other"))
        self.step("a key without the usage derives nothing", refused, REASON.INVALID_FIELD, self.c.derive_key,
            enums.ObjectType.SYMMETRIC_KEY, [other], method.HMAC, sha256,
            cryptographic_algorithm=AES, cryptographic_length=128)

    def derived(self, label, bases, method, parameters, want):
        uid = self.keep(self.step("derive by " + label, self.c.derive_key, enums.ObjectType.SYMMETRIC_KEY, bases, method,
            parameters, cryptographic_algorithm=AES, cryptographic_length=128))
        self.step("its value", lambda: same(self.c.get(uid).value, want))

    def rekeying(self):
        uid = self.keep(self.c.create(AES, 256, name=self.mark + "re-key", cryptographic_usage_mask=CRYPT))
        new = self.keep(self.step("re-key", self.c.rekey, uid, 0))
        self.step("another key", lambda: same(self.c.get(new).value == self.c.get(uid).value, False))
        self.step("it has the name", lambda: same(
            [str(a.attribute_value) for a in self.c.get_attributes(new, ["Name"])[1]], [self.mark + "re-key"]))
        self.step("once only", refused, REASON.PERMISSION_DENIED, self.c.rekey, uid)

    # Locate

    def locating(self):
        group, space, data = self.mark + "group", self.mark + "space", self.mark + "data"
        before = int(time.time()) - 2
        uids = []
        for i in range(5):
            extra = [attribute(A.NAME, attribute_name(self.mark + "loc-%d" % i)), attribute(A.OBJECT_GROUP, group),
                     attribute(A.APPLICATION_SPECIFIC_INFORMATION,
                               {"application_namespace": space, "application_data": data + str(i)})]
            obj = objects.SymmetricKey(AES, 128, bytes([i] * 16), CRYPT)
            uids.append(self.keep(self.step("register object %d of a group" % i, register_with, self.c, obj, extra)))
        self.step("activate two", lambda: [self.c.activate(u) for u in uids[:2]])

        def find(want, *attributes, **options):
            got = self.c.locate(attributes=[attribute(A.OBJECT_GROUP, group)] + list(attributes), **options)
            same(sorted(got), sorted(want), "located")

        self.step("locate by name", lambda: same(
            self.c.locate(attributes=[attribute(A.NAME, attribute_name(self.mark + "loc-3"))]), [uids[3]]))
        self.step("locate by group", find, uids)
        self.step("locate by type", find, uids, attribute(A.OBJECT_TYPE, enums.ObjectType.SYMMETRIC_KEY))
        self.step("locate by another type", find, [], attribute(A.OBJECT_TYPE, enums.ObjectType.PUBLIC_KEY))
        self.step("locate by algorithm", find, uids, attribute(A.CRYPTOGRAPHIC_ALGORITHM, AES))
        self.step("locate by length", find, uids, attribute(A.CRYPTOGRAPHIC_LENGTH, 128))
        self.step("locate by another length", find, [], attribute(A.CRYPTOGRAPHIC_LENGTH, 256))
        self.step("locate by usage mask", find, uids, attribute(A.CRYPTOGRAPHIC_USAGE_MASK, CRYPT))
        self.step("locate active ones", find, uids[:2], attribute(A.STATE, enums.State.ACTIVE))
        self.step("locate pre-active ones", find, uids[2:], attribute(A.STATE, enums.State.PRE_ACTIVE))
        self.step("locate by application data", find, [uids[4]], attribute(
            A.APPLICATION_SPECIFIC_INFORMATION, {"application_namespace": space, "application_data": data + "4"}))
        self.step("locate by identifier", find, [uids[2]], attribute(A.UNIQUE_IDENTIFIER, uids[2]))
        self.step("locate by a range of dates", find, uids, attribute(A.INITIAL_DATE, before),
                  attribute(A.INITIAL_DATE, int(time.time()) + 2))
        self.step("locate by a range long ago", find, [], attribute(A.INITIAL_DATE, 1),
                  attribute(A.INITIAL_DATE, 1000))
        self.step("locate with a maximum", lambda: same(
            len(self.c.locate(attributes=[attribute(A.OBJECT_GROUP, group)], maximum_items=2)), 2))

        def pages():
            seen = []
            for offset in range(0, 5, 2):
                seen += self.c.locate(attributes=[attribute(A.OBJECT_GROUP, group)], maximum_items=2,
                                      offset_items=offset)
            same(sorted(seen), sorted(uids), "pages")

        self.step("locate page by page", pages)
        self.step("locate a name that nobody has", lambda: same(
            self.c.locate(attributes=[attribute(A.NAME, attribute_name(self.mark + "nobody"))]), []))

    # Attributes

    def value(self, uid, name):
        _, got = self.c.get_attributes(uid, [name])
        same([a.attribute_name.value for a in got], [name], "attributes")
        return got[0].attribute_value.value

    def text(self, uid, name):
        return self.value(uid, name)

    def names(self, uid):
        _, got = self.c.get_attributes(uid, ["Name"])
        return [a.attribute_value.name_value.value for a in got]

    def attributes(self):
        first, second = self.mark + "attr-1", self.mark + "attr-2"
        uid = self.keep(self.step("register with two names", register_with, self.c,
                                  objects.SymmetricKey(AES, 128, bytes(16), CRYPT),
                                  [attribute(A.NAME, attribute_name(first), 0),
                                   attribute(A.NAME, attribute_name(second), 1)]))
        self.step("the names", lambda: same(self.names(uid), [first, second]))
        listed = self.step("get attribute list", self.c.get_attribute_list, uid)
        for name in ("Unique Identifier", "Object Type", "Name", "Cryptographic Algorithm", "Cryptographic Length",
                     "Cryptographic Usage Mask", "State", "Initial Date", "Last Change Date", "Digest"):
            self.step("the list has " + name, true, name in listed, "attribute list lacks %s: %s" % (name, listed))
        for name in listed:
            if name not in UNREADABLE:
                self.step("get " + name, lambda n=name: true(
                    n in [a.attribute_name.value for a in self.c.get_attributes(uid, [n])[1]], "no " + n))
        self.step("modify the second name", lambda: self.c.modify_attribute(
            uid, attribute=attribute(A.NAME, attribute_name(self.mark + "attr-3"), 1)))
        self.step("the names after it", lambda: same(self.names(uid), [first, self.mark + "attr-3"]))
        self.step("delete the first name", lambda: self.c.delete_attribute(
            uid, attribute_name="Name", attribute_index=0))
        self.step("the name left", lambda: same(self.names(uid), [self.mark + "attr-3"]))
        self.step("the state cannot be deleted", refused,
                  [REASON.PERMISSION_DENIED, REASON.ILLEGAL_OPERATION, REASON.INVALID_FIELD],
                  self.c.delete_attribute, uid, attribute_name="State")
        self.step("a name that is not there cannot be modified", refused,
                  [REASON.ITEM_NOT_FOUND, REASON.INDEX_OUT_OF_BOUNDS, REASON.INVALID_FIELD], self.c.modify_attribute, uid,
                  attribute=attribute(A.NAME, attribute_name("x"), 9))
        self.step("absent attributes are left out", lambda: same(self.c.get_attributes(uid, ["Destroy Date"])[1], []))

    # States

    def state(self, uid, want):
        same(self.value(uid, "State"), want, "state")

    def life_cycle(self):
        state = enums.State
        uid = self.keep(self.step("create for a life", self.c.create, AES, 256, name=self.mark + "life",
                                  cryptographic_usage_mask=CRYPT))
        self.step("it is pre-active", self.state, uid, state.PRE_ACTIVE)
        self.step("check it", lambda: same(self.c.check(uid, cryptographic_usage_mask=[MASK.ENCRYPT]), uid))
        self.step("activate", self.c.activate, uid)
        self.step("it is active", self.state, uid, state.ACTIVE)
        self.step("activating again is refused", refused, [REASON.PERMISSION_DENIED, REASON.ILLEGAL_OPERATION],
                  self.c.activate, uid)
        self.step("destroying it active is refused", refused, REASON.PERMISSION_DENIED, self.c.destroy, uid)
        self.step("revoke", self.c.revoke, enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid, "enough")
        self.step("it is deactivated", self.state, uid, state.DEACTIVATED)
        self.step("destroy", self.c.destroy, uid)
        self.step("it cannot be had any more", refused, [REASON.ITEM_NOT_FOUND, REASON.PERMISSION_DENIED,
                                                         REASON.ILLEGAL_OPERATION], self.c.get, uid)
        uid = self.keep(self.step("create to compromise", self.c.create, AES, 256, cryptographic_usage_mask=CRYPT))
        self.step("revoke as compromised", self.c.revoke, enums.RevocationReasonCode.KEY_COMPROMISE, uid, "lost", 6)
        self.step("it is compromised", self.state, uid, state.COMPROMISED)
        self.step("destroy it too", self.c.destroy, uid)

    def refusals(self):
        nobody = "no-such-object"
        for label, call, args in (
                ("get", self.c.get, (nobody,)), ("destroy", self.c.destroy, (nobody,)),
                ("activate", self.c.activate, (nobody,)), ("get attributes of", self.c.get_attributes, (nobody,)),
                ("get attribute list of", self.c.get_attribute_list, (nobody,)),
                ("revoke", self.c.revoke, (enums.RevocationReasonCode.UNSPECIFIED, nobody))):
            self.step(label + " an unknown object", refused, REASON.ITEM_NOT_FOUND, call, *args)
        self.step("create AES of an odd length", refused,
                  [REASON.INVALID_FIELD, REASON.CRYPTOGRAPHIC_FAILURE, REASON.FEATURE_NOT_SUPPORTED],
                  self.c.create, AES, 123)
        self.step("the connection still works", lambda: self.c.locate(maximum_items=1))

    def cleanup(self):
        def clean():
            for uid in self.made:
                try:
                    self.c.revoke(enums.RevocationReasonCode.KEY_COMPROMISE, uid)
                except Exception:
                    pass  # destroyed, or of a kind without states
                try:
                    self.c.destroy(uid)
                except Exception:
                    pass  # destroyed before
            found = self.c.locate(attributes=[attribute(A.OBJECT_GROUP, self.mark + "group")])
            same(found, [], "left over")
        self.step("clean up", clean)


def attribute_name(text):
    """The value that the library's factory takes for the attribute Name."""
    return text


def main():
    directory, address = sys.argv[1:3]
    material = Material()
    total = 0
    for version in VERSIONS:
        with_tls = "PROTOCOL_TLSv1_2" if version == enums.KMIPVersion.KMIP_1_1 else "PROTOCOL_SSLv23"
        client = connect(directory, address, version, with_tls)
        total += Flow(client, version, material).run()
        client.close()
    if Steps.failed:
        sys.exit("%d steps are wrong" % Steps.failed)
    print("all %d steps are right" % total)


if __name__ == "__main__":
    main()
