// Verifies an exported audit log with code that Whorl's authors did not write: Go's sumdb/note and
// sumdb/tlog. Arguments: the export's directory, and files with the output of `whorl audit prove`
// and `whorl audit consistency`. Prints what was verified; exits 1 at the first thing that does not.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error, what string) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func hash(text string) (h tlog.Hash) {
	bytes, err := base64.StdEncoding.DecodeString(text)
	check(err, "base64")
	if copy(h[:], bytes) != tlog.HashSize {
		check(fmt.Errorf("%d bytes", len(bytes)), "hash")
	}
	return h
}

// Reads tiles where the tlog-tiles layout has them.
type tiles struct{ dir string }

func (t tiles) Height() int { return 8 }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		path := strings.TrimPrefix(tile.Path(), "tile/8/") // LEVEL/N, or data/N
		bytes, err := os.ReadFile(filepath.Join(t.dir, "tile", path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

type proof struct {
	Position, Size, First, Second int64
	Root, Leaf                    string
	FirstRoot                     string `json:"first_root"`
	SecondRoot                    string `json:"second_root"`
	Proof                         []string
}

func checkProof(path string, tree tlog.Tree) {
	var p proof
	bytes, err := os.ReadFile(path)
	check(err, path)
	check(json.Unmarshal(bytes, &p), path)
	var hashes []tlog.Hash
	for _, text := range p.Proof {
		hashes = append(hashes, hash(text))
	}
	if p.Second > 0 {
		check(tlog.CheckTree(hashes, p.Second, hash(p.SecondRoot), p.First, hash(p.FirstRoot)), path)
		return
	}
	leaf := hash(p.Leaf)
	if p.Size != tree.N || hash(p.Root) != tree.Hash {
		check(fmt.Errorf("of another tree"), path)
	}
	check(tlog.CheckRecord(hashes, tree.N, tree.Hash, p.Position, tlog.RecordHash(leaf[:])), path)
}

// The entries, from their bundles: each a big-endian length and the data.
func entries(dir string, count int64) (all [][]byte) {
	for n := int64(0); n*256 < count; n++ {
		width := 256
		if count-n*256 < 256 {
			width = int(count - n*256)
		}
		tile := tlog.Tile{H: 8, L: -1, N: n, W: width}
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(dir, path))
		check(err, path)
		for len(data) > 0 {
			size := int(data[0])<<8 | int(data[1])
			all = append(all, data[2:2+size])
			data = data[2+size:]
		}
	}
	return all
}

func main() {
	dir := os.Args[1]
	vkey, err := os.ReadFile(filepath.Join(dir, "checkpoint.vkey"))
	check(err, "vkey")
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	check(err, "vkey")
	message, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check(err, "checkpoint")
	signed, err := note.Open(message, note.VerifierList(verifier))
	check(err, "checkpoint")
	lines := strings.Split(signed.Text, "\n")
	if lines[0] != verifier.Name() {
		check(fmt.Errorf("of %s", lines[0]), "origin")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	tree := tlog.Tree{N: size, Hash: hash(lines[2])}

	reader := tlog.TileHashReader(tree, tiles{dir})
	root, err := tlog.TreeHash(tree.N, reader)
	check(err, "tiles")
	if !bytes.Equal(root[:], tree.Hash[:]) {
		check(fmt.Errorf("another root"), "tiles")
	}
	all := entries(dir, tree.N)
	if int64(len(all)) != tree.N {
		check(fmt.Errorf("%d of %d", len(all), tree.N), "entries")
	}
	for i, entry := range all {
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(i))})
		check(err, "tiles")
		if hashes[0] != tlog.RecordHash(entry) {
			check(fmt.Errorf("entry %d does not have the hash of its tile", i), "entries")
		}
	}
	for _, path := range os.Args[2:] {
		checkProof(path, tree)
	}
	fmt.Printf("verified %d records, %d proofs\n", tree.N, len(os.Args)-2)
}
