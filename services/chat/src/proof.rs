//! The proof of work, which anyone can check.
//!
//! From a text and a challenge of 16 random bytes: *header* = SHA-256(challenge ‖ text in UTF-8), *hash* = SHA-256(header ‖
//! nonce as 8 bytes, big-endian). It is a proof of `bits` bits if the hash begins with at least `bits` zero bits. On average
//! that takes 2^bits nonces.

use std::sync::OnceLock;
use std::time::Instant;

use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// The initial hash value of SHA-256 (FIPS 180-4, section 5.3.3).
const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// Bytes of a header and a nonce.
const INPUT_BYTES: usize = 40;
/// Nonces that a thread tries before it checks whether another has found one: this takes a fifth of a millisecond.
const CHECK_INTERVAL: u64 = 4096;

/// A nonce that proves work on a text, and all that is needed to check it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Drawn at random for this proof, so that it cannot be computed in advance.
    #[serde(with = "const_hex::serde::no_prefix")]
    pub challenge: [u8; 16],
    /// The nonce that was found.
    pub nonce: u64,
    /// The least number of zero bits that the hash begins with.
    pub bits: u8,
    /// The hash of header and nonce.
    #[serde(with = "const_hex::serde::no_prefix")]
    pub hash: [u8; 32],
    /// How long the search took, in milliseconds.
    pub elapsed_ms: u64,
    /// Nonces that were tried.
    pub hashes: u64,
    /// The text that the proof is for.
    pub text: String,
}

/// Why a proof is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProof {
    /// Challenge, text and nonce have another hash.
    #[error("challenge, text and nonce do not lead to this hash")]
    HashMismatch,
    /// The hash begins with fewer zero bits.
    #[error("the hash begins with {0} zero bits only")]
    TooFewBits(u32),
}

impl Proof {
    /// Searches for a proof on this many threads, and counts the nonces in `tried`.
    ///
    /// # Panics
    /// If a thread cannot be created.
    #[must_use]
    pub fn find(text: &str, bits: u8, threads: usize, tried: &IntCounter) -> Self {
        let challenge: [u8; 16] = rand::random();
        let header = header(&challenge, text);
        let search = Search {
            block: block(header),
            bits: bits.into(),
            found: OnceLock::new(),
            tried,
        };
        let (begun, before) = (Instant::now(), tried.get());
        let step = threads.max(1) as u64;
        std::thread::scope(|scope| {
            for first in 1..step {
                let search = &search;
                scope.spawn(move || search.run(first, step));
            }
            search.run(0, step);
        });
        let elapsed = begun.elapsed();
        let found = search.found.into_inner();
        let nonce = found.expect("a search ends when something is found");
        Self {
            challenge,
            nonce,
            bits,
            hash: hash(header, nonce),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            hashes: tried.get() - before,
            text: text.to_owned(),
        }
    }

    /// # Errors
    /// [`InvalidProof`]
    pub fn verify(&self) -> Result<(), InvalidProof> {
        let hash = hash(header(&self.challenge, &self.text), self.nonce);
        let zero_bits = zero_bits(&hash);
        if hash != self.hash {
            Err(InvalidProof::HashMismatch)
        } else if zero_bits < self.bits.into() {
            Err(InvalidProof::TooFewBits(zero_bits))
        } else {
            Ok(())
        }
    }
}

fn header(challenge: &[u8; 16], text: &str) -> [u8; 32] {
    let header = Sha256::new().chain_update(challenge).chain_update(text);
    header.finalize().into()
}

fn hash(header: [u8; 32], nonce: u64) -> [u8; 32] {
    let hash = Sha256::new().chain_update(header);
    hash.chain_update(nonce.to_be_bytes()).finalize().into()
}

/// The block of SHA-256 for a header and the nonce 0, padded (FIPS 180-4, section 5.1.1): both fit into a single one.
fn block(header: [u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(&header);
    block[INPUT_BYTES] = 0x80;
    block[56..].copy_from_slice(&(8 * INPUT_BYTES as u64).to_be_bytes());
    block
}

/// What the threads of one search share.
struct Search<'a> {
    block: [u8; 64],
    bits: u32,
    found: OnceLock<u64>,
    tried: &'a IntCounter,
}

impl Search<'_> {
    /// Tries every `step`-th nonce from `first` on, until any thread has found one.
    fn run(&self, first: u64, step: u64) {
        // Copied, because the shared value may lie in a cache line that another thread writes to all the time.
        let (mut block, bits) = (self.block, self.bits);
        let mut nonce = first;
        while self.found.get().is_none() {
            for tried in 1..=CHECK_INTERVAL {
                block[32..INPUT_BYTES].copy_from_slice(&nonce.to_be_bytes());
                let mut state = INITIAL_STATE;
                compress256(&mut state, &[block]);
                // The first word suffices, because there are at most 32 bits.
                if state[0].leading_zeros() >= bits {
                    self.tried.inc_by(tried);
                    // Another thread may have found one at the same time; the first is kept.
                    let _is_first = self.found.set(nonce);
                    return;
                }
                nonce += step;
            }
            self.tried.inc_by(CHECK_INTERVAL);
        }
    }
}

fn zero_bits(hash: &[u8; 32]) -> u32 {
    let zeros = hash.iter().take_while(|&&byte| byte == 0).count();
    let next = hash.get(zeros).map_or(0, |byte| byte.leading_zeros());
    8 * u32::try_from(zeros).expect("a hash has 32 bytes") + next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bits: u8, threads: usize) -> Proof {
        let tried = IntCounter::new("tried", "tried").expect("it is a name");
        Proof::find("привет", bits, threads, &tried)
    }

    #[test]
    fn what_is_found_can_be_checked_whatever_the_number_of_threads() {
        for (bits, threads) in [(1, 1), (8, 1), (12, 2), (16, 4), (18, 3)] {
            let proof = found(bits, threads);
            assert_eq!(proof.verify(), Ok(()), "{proof:?}");
            assert!(proof.hashes > 0);
        }
    }

    #[test]
    fn a_proof_that_was_changed_in_anything_proves_nothing() {
        let proof = found(12, 2);
        let changes: [fn(&mut Proof); 4] = [
            |proof| proof.challenge[0] ^= 1,
            |proof| proof.nonce += 1,
            |proof| proof.text.push('!'),
            |proof| proof.hash[31] ^= 1,
        ];
        for change in changes {
            let mut other = proof.clone();
            change(&mut other);
            assert_eq!(other.verify(), Err(InvalidProof::HashMismatch));
        }
        let more = Proof { bits: 33, ..proof };
        assert!(matches!(more.verify(), Err(InvalidProof::TooFewBits(_))));
    }

    #[test]
    fn a_proof_is_the_same_when_it_was_json() {
        let proof = found(4, 1);
        let json = serde_json::to_string(&proof).expect("it has no maps");
        assert_eq!(serde_json::from_str::<Proof>(&json).ok(), Some(proof));
    }

    #[test]
    fn bits_are_counted_over_bytes() {
        let mut hash = [0; 32];
        assert_eq!(zero_bits(&hash), 256);
        hash[2] = 0b0001_0000;
        assert_eq!(zero_bits(&hash), 19);
    }
}
