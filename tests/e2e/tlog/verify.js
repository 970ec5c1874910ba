// Verifies proofs with the npm package @transmute/rfc9162. Arguments: files with the output of
// `whorl audit prove` and `whorl audit consistency`. Prints how many hold, and how many still hold
// with one bit changed (none should).
//
// The package leaves to its caller what RFC 9162, 2.1.4.2, step 2 asks of a verifier: where the first
// size is a power of two, the first root goes before the path.
const fs = require('fs');
const { RFC9162 } = require('@transmute/rfc9162');

const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));
const other = (hash) => hash.map((byte, i) => (i === 7 ? byte ^ 1 : byte));

async function inclusion(p, path, root) {
  const leaf = await RFC9162.leaf(bytes(p.leaf));
  return RFC9162.verifyInclusionProof(root, leaf, {
    log_id: '', tree_size: p.size, leaf_index: p.position, inclusion_path: path,
  });
}

async function consistency(p, path, root) {
  const first = bytes(p.first_root);
  const whole = (p.first & (p.first - 1)) === 0;
  return RFC9162.verifyConsistencyProof(first, root, {
    log_id: '', tree_size_1: p.first, tree_size_2: p.second,
    consistency_path: whole ? [first, ...path] : path,
  });
}

(async () => {
  let held = 0, forged = 0;
  for (const name of process.argv.slice(2)) {
    const p = JSON.parse(fs.readFileSync(name, 'utf8'));
    const verify = 'leaf' in p ? inclusion : consistency;
    const path = p.proof.map(bytes), root = bytes('leaf' in p ? p.root : p.second_root);
    held += await verify(p, path, root);
    forged += await verify(p, path, other(root));
    for (let i = 0; i < path.length; i++) {
      forged += await verify(p, path.map((hash, j) => (i === j ? other(hash) : hash)), root);
    }
  }
  console.log(`${held} hold, ${forged} hold when altered`);
})().catch((error) => { console.error(error); process.exit(1); });
