// Package encodings holds the server's readers and writers of XML and JSON against the codecs of the tests: on every message of
// every OASIS case. Its test is the one in this folder that imports what it tests.
package encodings
