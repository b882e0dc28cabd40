//! Private keys of clients, and the signatures they make, by aws-lc.
//!
//! Nothing here reads files or asks for passphrases. aws-lc checks that all numbers of a key belong together before it
//! uses them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA512, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::public_key::KeyAlgorithm;
use crate::ssh_wire::{put_positive, put_string};

/// A private key, wiped from memory when dropped.
pub(crate) enum PrivateKey {
    Ed25519 {
        seed: Zeroizing<[u8; 32]>,
        public: [u8; 32],
    },
    /// The scalar, 32 bytes, and the point.
    EcdsaP256((Zeroizing<Vec<u8>>, Vec<u8>)),
    /// The scalar, 48 bytes, and the point.
    EcdsaP384((Zeroizing<Vec<u8>>, Vec<u8>)),
    Rsa(Box<RsaNumbers>),
}

/// What OpenSSH keeps of an RSA key; big-endian, without leading zeros.
pub(crate) struct RsaNumbers {
    pub(crate) modulus: Vec<u8>,
    pub(crate) exponent: Vec<u8>,
    pub(crate) d: Zeroizing<Vec<u8>>,
    /// Of `q`, modulo `p`.
    pub(crate) inverse: Zeroizing<Vec<u8>>,
    pub(crate) p: Zeroizing<Vec<u8>>,
    pub(crate) q: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// The SSH signature blob over `signed`; none if the key is damaged. RSA keys sign with SHA-512.
    pub(crate) fn sign(&self, signed: &[u8]) -> Option<Vec<u8>> {
        let (name, data) = match self {
            Self::Ed25519 { seed, public } => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&**seed, public).ok()?;
                (KeyAlgorithm::Ed25519.name(), pair.sign(signed).as_ref().to_vec())
            }
            Self::EcdsaP256((scalar, point)) => {
                let data = sign_ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, scalar, point, signed)?;
                (KeyAlgorithm::EcdsaP256.name(), data)
            }
            Self::EcdsaP384((scalar, point)) => {
                let data = sign_ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, scalar, point, signed)?;
                (KeyAlgorithm::EcdsaP384.name(), data)
            }
            Self::Rsa(numbers) => ("rsa-sha2-512", numbers.sign(signed)?),
        };
        let mut blob = Vec::new();
        put_string(&mut blob, name.as_bytes());
        put_string(&mut blob, &data);
        Some(blob)
    }
}

fn sign_ecdsa(
    algorithm: &'static EcdsaSigningAlgorithm,
    scalar: &[u8],
    point: &[u8],
    signed: &[u8],
) -> Option<Vec<u8>> {
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point).ok()?;
    let fixed = pair.sign(&SystemRandom::new(), signed).ok()?;
    let (r, s) = fixed.as_ref().split_at(scalar.len());
    let mut data = Vec::new();
    put_positive(&mut data, r);
    put_positive(&mut data, s);
    Some(data)
}

impl RsaNumbers {
    fn sign(&self, signed: &[u8]) -> Option<Vec<u8>> {
        let pair = self.pair()?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), signed, &mut signature).ok()?;
        Some(signature)
    }

    /// OpenSSH keeps neither of the exponents that a signature is computed with in the quick way.
    fn pair(&self) -> Option<RsaKeyPair> {
        let (exponent_p, exponent_q) = (remainder(&self.d, &self.p)?, remainder(&self.d, &self.q)?);
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: &self.modulus, e: &self.exponent },
            d: &self.d[..],
            p: &self.p[..],
            q: &self.q[..],
            dP: &exponent_p[..],
            dQ: &exponent_q[..],
            qInv: &self.inverse[..],
        };
        RsaKeyPair::from_components(&components).ok()
    }
}

/// `d mod (prime - 1)`, big-endian. Takes the same steps whatever the bits are.
fn remainder(d: &[u8], prime: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut modulus = Zeroizing::new(prime.to_vec());
    // A prime that is not 2 is odd, so one less than it differs in the last bit alone.
    *modulus.last_mut().filter(|last| **last & 1 == 1)? ^= 1;
    let mut rest = Zeroizing::new(vec![0; modulus.len()]);
    let mut less = Zeroizing::new(vec![0; modulus.len()]);
    for byte in d {
        for bit in (0..8).rev() {
            let carry = double_and_add(&mut rest, byte >> bit & 1);
            let borrow = subtract(&rest, &modulus, &mut less);
            // The doubled rest is at least the modulus if it has run over, or if nothing was borrowed.
            let keep = 0u8.wrapping_sub(borrow & !carry & 1);
            rest.iter_mut().zip(less.iter()).for_each(|(rest, less)| *rest = *rest & keep | less & !keep);
        }
    }
    Some(rest)
}

/// Doubles a big-endian number and adds a bit; the bit that ran over.
fn double_and_add(number: &mut [u8], bit: u8) -> u8 {
    number.iter_mut().rev().fold(bit, |carry, byte| {
        let over = *byte >> 7;
        *byte = *byte << 1 | carry;
        over
    })
}

/// `a - b` into `difference`, all of one length, big-endian; the borrow.
fn subtract(a: &[u8], b: &[u8], difference: &mut [u8]) -> u8 {
    let digits = a.iter().zip(b).zip(difference).rev();
    digits.fold(0, |borrow, ((a, b), difference)| {
        let wide = i16::from(*a) - i16::from(*b) - i16::from(borrow);
        *difference = wide as u8;
        u8::from(wide < 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn remainders_are_those_of_small_numbers(d in 1u128.., prime in 3u64..) {
            let prime = prime | 1;
            let rest = remainder(&d.to_be_bytes(), &prime.to_be_bytes()).unwrap();
            let rest = rest.iter().fold(0u128, |all, byte| all << 8 | u128::from(*byte));
            prop_assert_eq!(rest, d % u128::from(prime - 1));
        }
    }

    #[test]
    fn an_even_number_is_no_prime() {
        assert!(remainder(&[9], &[8]).is_none());
        assert!(remainder(&[9], &[]).is_none());
    }
}
