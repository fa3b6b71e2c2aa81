// Package softhsmtests drives the built kmipd over TLS against a real SoftHSM2 token: the official OASIS test cases, a
// third-party client, crashes, hostile peers and benchmarks.
//
//	go test ./softhsm-tests -count=1 -v -run TestConformance              all cases in scope
//	go test ./softhsm-tests -count=1 -v -run TestConformance -case NAME   one case, such as SKLC-M-1-14
//	go test ./softhsm-tests -count=1 -v -run TestPolicyCells              every algorithm and parameter under every policy
//	go test ./softhsm-tests -count=1 -v -run TestConformanceFIPS140       the OASIS cases under fips140
//	go test ./softhsm-tests -count=1 -v -run TestPyKMIP                   the flow of a Python client
//	go test ./softhsm-tests -count=1 -v -run TestHostile                  broken and slow peers
//	go test ./softhsm-tests -count=1 -v -run TestCrash                    kill -9 under load, KMIPD_CRASH_ROUNDS times (5)
//	go test ./softhsm-tests -count=1 -v -run TestBench -bench-report      benchmarks against their floor
//
// (-count=1 because the server is another process, whose changes the test cache does not see; -v for the reports.)
//
// The tests speak KMIP through code of their own (internal/rawttlv), not through the server's codec. They need SoftHSM2
// and the KMIP texts beside the clone; without them they are skipped on a workstation and fail in CI.
package softhsmtests
