//! Signatures by RSA keys of OpenSSH's format, made by aws-lc.
//!
//! OpenSSH keeps neither of the exponents that a signature is computed with in the quick way, so they are computed here
//! from those it keeps; aws-lc checks that all numbers belong together before it uses them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{RSA_PKCS1_SHA512, RsaKeyPair};
use ssh_key::Mpint;
use ssh_key::private::RsaKeypair;
use zeroize::Zeroizing;

/// Signs with SHA-512 (`rsa-sha2-512`): as many bytes as the modulus has. None if the key is damaged or too weak.
pub(crate) fn sign(key: &RsaKeypair, signed: &[u8]) -> Option<Vec<u8>> {
    let pair = pair(key)?;
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), signed, &mut signature).ok()?;
    Some(signature)
}

fn pair(key: &RsaKeypair) -> Option<RsaKeyPair> {
    let (d, p, q) = (&key.private.d, &key.private.p, &key.private.q);
    let (exponent_p, exponent_q) = (remainder(d, p)?, remainder(d, q)?);
    let components = KeyPairComponents {
        public_key: PublicKeyComponents {
            n: key.public.n.as_positive_bytes()?,
            e: key.public.e.as_positive_bytes()?,
        },
        d: d.as_positive_bytes()?,
        p: p.as_positive_bytes()?,
        q: q.as_positive_bytes()?,
        dP: &exponent_p[..],
        dQ: &exponent_q[..],
        qInv: key.private.iqmp.as_positive_bytes()?,
    };
    RsaKeyPair::from_components(&components).ok()
}

/// `d mod (prime - 1)`, big-endian. Takes the same steps whatever the bits are.
fn remainder(d: &Mpint, prime: &Mpint) -> Option<Zeroizing<Vec<u8>>> {
    let mut modulus = Zeroizing::new(prime.as_positive_bytes()?.to_vec());
    // A prime that is not 2 is odd, so one less than it differs in the last bit alone.
    *modulus.last_mut().filter(|last| **last & 1 == 1)? ^= 1;
    let mut rest = Zeroizing::new(vec![0; modulus.len()]);
    let mut less = Zeroizing::new(vec![0; modulus.len()]);
    for byte in d.as_positive_bytes()? {
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
            let number = |bytes: &[u8]| Mpint::from_positive_bytes(bytes).unwrap();
            let rest = remainder(&number(&d.to_be_bytes()), &number(&prime.to_be_bytes())).unwrap();
            let rest = rest.iter().fold(0u128, |all, byte| all << 8 | u128::from(*byte));
            prop_assert_eq!(rest, d % u128::from(prime - 1));
        }
    }

    #[test]
    fn an_even_number_is_no_prime() {
        let number = |byte: u8| Mpint::from_positive_bytes(&[byte]).unwrap();
        assert!(remainder(&number(9), &number(8)).is_none());
    }
}
