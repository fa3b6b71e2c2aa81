"""KMIP over HTTPS with nothing but Python's own library: https_flow.py DIRECTORY HOST:PORT

Makes a key in JSON, finds and gets it in XML, and destroys it, on one connection. Prints a line for each step; the first wrong
result ends it with a traceback.
"""

import http.client
import json
import os
import ssl
import sys
import xml.etree.ElementTree as ET

directory, address = sys.argv[1:]
context = ssl.create_default_context(cafile=os.path.join(directory, "ca.crt"))
context.load_cert_chain(os.path.join(directory, "client.crt"), os.path.join(directory, "client.key"))
connection = http.client.HTTPSConnection(address, context=context, timeout=60)

NAME = 'Schlüssel <1> & "zwei" \\ €'


def post(content_type, body):
    connection.request("POST", "/kmip", body, {"Content-Type": content_type, "Cache-Control": "no-cache"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (answer.status, body)
    assert answer.headers["Content-Type"] == content_type, answer.headers
    assert answer.headers["Cache-Control"] == "no-cache", answer.headers
    assert int(answer.headers["Content-Length"]) == len(body), answer.headers
    return body


# JSON: an item is made of tag, type and value; a structure's value is a list.
def item(tag, kind, value):
    return {"tag": tag, "type": kind, "value": value}


def structure(tag, *members):
    return {"tag": tag, "value": list(members)}


def attribute(name, kind, value):
    return structure("Attribute", item("AttributeName", "TextString", name), item("AttributeValue", kind, value))


def name_attribute():
    value = structure("AttributeValue", item("NameValue", "TextString", NAME), item("NameType", "Enumeration", "UninterpretedTextString"))
    return structure("Attribute", item("AttributeName", "TextString", "Name"), value)


def ask_json(operation, *payload):
    request = structure(
        "RequestMessage",
        structure("RequestHeader", structure("ProtocolVersion", item("ProtocolVersionMajor", "Integer", 1), item("ProtocolVersionMinor", "Integer", 4)), item("BatchCount", "Integer", 1)),
        structure("BatchItem", item("Operation", "Enumeration", operation), structure("RequestPayload", *payload)),
    )
    return json.loads(post("application/json", json.dumps(request)))


def find(node, *tags):
    for tag in tags:
        node = next(m for m in node["value"] if m["tag"] == tag)
    return node


def ok_json(answer):
    assert find(answer, "BatchItem", "ResultStatus")["value"] == "Success", answer
    return find(answer, "BatchItem", "ResponsePayload")


# XML: an element for each item.
def ask_xml(operation, payload):
    request = (
        "<?xml version='1.0' encoding='UTF-8'?>\n<RequestMessage xmlns='urn:oasis:tc:kmip:xmlns'><RequestHeader><ProtocolVersion>"
        "<ProtocolVersionMajor type='Integer' value='1'/><ProtocolVersionMinor type='Integer' value='4'/></ProtocolVersion>"
        "<BatchCount type='Integer' value='1'/></RequestHeader><BatchItem><Operation type='Enumeration' value='%s'/>" % operation
        + "<RequestPayload>%s</RequestPayload></BatchItem></RequestMessage>" % payload
    )
    return ET.fromstring(post("text/xml", request.encode("utf-8")))


def text(tag, value):
    element = ET.Element(tag, type="TextString", value=value)
    return ET.tostring(element, encoding="unicode")


made = ok_json(ask_json(
    "Create",
    item("ObjectType", "Enumeration", "SymmetricKey"),
    structure("TemplateAttribute", attribute("Cryptographic Algorithm", "Enumeration", "AES"), attribute("Cryptographic Length", "Integer", "0x00000100"),
              attribute("Cryptographic Usage Mask", "Integer", "Encrypt|Decrypt|0x00000010"), name_attribute()),
))
uid = find(made, "UniqueIdentifier")["value"]
print("made", uid, "in JSON")

found = ask_xml("Locate", "<Attribute><AttributeName type='TextString' value='Name'/><AttributeValue>%s<NameType type='Enumeration' value='0x00000001'/></AttributeValue></Attribute>" % text("NameValue", NAME))
assert [e.get("value") for e in found.iter("UniqueIdentifier")] == [uid], ET.tostring(found)
got = ask_xml("Get", text("UniqueIdentifier", uid))
key = bytes.fromhex(got.find(".//KeyMaterial").get("value"))
assert len(key) == 32, ET.tostring(got)
again = ok_json(ask_json("Get", item("UniqueIdentifier", "TextString", uid)))
assert bytes.fromhex(find(again, "SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")["value"]) == key
print("found and got it in XML and JSON")

attributes = ok_json(ask_json("GetAttributes", item("UniqueIdentifier", "TextString", uid)))
values = {find(a, "AttributeName")["value"]: find(a, "AttributeValue") for a in attributes["value"] if a["tag"] == "Attribute"}
assert find(values["Name"], "NameValue")["value"] == NAME, values["Name"]
assert set(values["Cryptographic Usage Mask"]["value"].split("|")) == {"Encrypt", "Decrypt", "WrapKey"}, values
assert values["State"]["value"] == "PreActive" and values["Initial Date"]["value"].endswith("+00:00"), values
print("its attributes are right")

wrong = ask_json("Create", item("ObjectType", "Enumeration", "NoSuchType"))
assert find(wrong, "BatchItem", "ResultReason")["value"] == "InvalidMessage", wrong
assert post("text/xml", b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>").find(b"InvalidMessage") > 0
print("what is no message is answered as one")

connection.request("GET", "/kmip")
refused = connection.getresponse()
assert refused.status == 405 and refused.headers["Allow"] == "POST", (refused.status, refused.headers)
refused.read()
gone = ask_xml("Destroy", text("UniqueIdentifier", uid))
assert gone.find(".//ResultStatus").get("value") == "Success", ET.tostring(gone)
print("destroyed it")
