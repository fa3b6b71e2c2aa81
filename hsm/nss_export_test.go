package hsm

import (
	"os"
	"runtime"
	"testing"
	"unsafe"

	p11 "github.com/miekg/pkcs11"
)

// nssModule is NSS's software token: a second opinion on what tokens do. It numbers its mechanisms differently from
// SoftHSM, knows OAEP with SHA-2, and cannot be opened by crypto11, since its initialisation needs a string.
const nssModule = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"

// OpenNSS opens a fresh NSS token without crypto11.
func OpenNSS(t *testing.T) Token {
	t.Helper()
	if _, err := os.Stat(nssModule); err != nil {
		t.Skip("NSS softokn is not installed")
	}
	m, err := loadModule(nssModule)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.unload)
	args := []byte("configdir='sql:" + t.TempDir() + "' certPrefix='' keyPrefix='' secmod='secmod.db' flags= \x00")
	var pin runtime.Pinner
	pin.Pin(&args[0])
	defer pin.Unpin()
	if err := m.ctx.Initialize(p11.InitializeWithReserved(unsafe.Pointer(&args[0]))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.finalize(); err != nil {
			t.Error(err)
		}
	})
	const slot, userPIN = 2, "12345678"
	s, err := m.openSession(slot)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{m.ctx.Login(s, p11.CKU_SO, ""), m.ctx.InitPIN(s, userPIN), m.ctx.Logout(s), m.ctx.Login(s, p11.CKU_USER, userPIN)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := Config{Module: nssModule, TokenLabel: "NSS", PIN: userPIN}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d := &device{cfg: cfg, p11: m, objects: newHandles(), gate: newRWLock(), stopped: make(chan struct{})}
	if err := d.start(TokenSummary{Slot: slot, Manufacturer: "Mozilla Foundation", Label: "NSS"}); err != nil {
		t.Fatal(err)
	}
	return d
}
