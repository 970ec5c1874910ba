// Verifies a cosigned checkpoint with code that Whorl's authors did not write: the note is taken
// apart by Go's sumdb/note, which knows nothing of witnesses, and the cosignature is checked with
// Go's Ed25519 as C2SP tlog-cosignature says. Arguments: the file of the note, the log's verifier key,
// the witness's. Prints the size and the time that were cosigned; exits 1 if either signature fails.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A note.Verifier for cosignature/v1.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
	time uint64 // of the signature that was verified
}

func newWitness(vkey string) *witness {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		check(fmt.Errorf("no verifier key: %s", vkey))
	}
	id, err := strconv.ParseUint(parts[1], 16, 32)
	check(err)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if len(key) != 33 || key[0] != 0x04 {
		check(fmt.Errorf("no key of cosignature/v1: %s", vkey))
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if binary.BigEndian.Uint32(sum[:4]) != uint32(id) {
		check(fmt.Errorf("another id than the key's: %s", vkey))
	}
	return &witness{name: parts[0], hash: uint32(id), key: key[1:]}
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }

func (w *witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	w.time = binary.BigEndian.Uint64(sig)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", w.time, msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

func main() {
	message, err := os.ReadFile(os.Args[1])
	check(err)
	log, err := note.NewVerifier(os.Args[2])
	check(err)
	w := newWitness(os.Args[3])
	signed, err := note.Open(message, note.VerifierList(log, w))
	check(err)
	var byLog, byWitness bool
	for _, sig := range signed.Sigs {
		byLog = byLog || (sig.Name == log.Name() && sig.Hash == log.KeyHash())
		byWitness = byWitness || (sig.Name == w.name && sig.Hash == w.hash)
	}
	if !byLog || !byWitness {
		check(fmt.Errorf("signed by the log: %v, by the witness: %v", byLog, byWitness))
	}
	fmt.Printf("cosigned %s %d\n", strings.Split(signed.Text, "\n")[1], w.time)
}
