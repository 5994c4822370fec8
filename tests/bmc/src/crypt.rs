//! The algorithms of the cipher suites.

use aes::Aes128;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// A cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// No protection.
    Zero,
    /// SHA-1.
    Three,
    /// SHA-256.
    Seventeen,
}

impl Suite {
    /// Its number.
    pub fn id(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::Three => 3,
            Self::Seventeen => 17,
        }
    }

    /// Authentication, integrity and confidentiality algorithm.
    pub fn algorithms(self) -> [u8; 3] {
        match self {
            Self::Zero => [0, 0, 0],
            Self::Three => [1, 1, 1],
            Self::Seventeen => [3, 4, 1],
        }
    }

    /// Octets of RAKP 4's check value, and of the code that ends a packet.
    pub fn short(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::Three => 12,
            Self::Seventeen => 16,
        }
    }

    /// HMAC over the parts; empty for suite 0.
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Zero => Vec::new(),
            Self::Three => {
                let mut hmac = Hmac::<Sha1>::new_from_slice(key).expect("a key of any length");
                parts.iter().for_each(|part| hmac.update(part));
                hmac.finalize().into_bytes().to_vec()
            }
            Self::Seventeen => {
                let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
                parts.iter().for_each(|part| hmac.update(part));
                hmac.finalize().into_bytes().to_vec()
            }
        }
    }
}

/// AES-128-CBC over whole blocks, in place.
pub fn encrypt(key: &[u8], iv: &[u8; 16], data: &mut [u8]) {
    let len = data.len();
    cbc::Encryptor::<Aes128>::new_from_slices(key, iv)
        .expect("a key of 16 octets")
        .encrypt_padded::<NoPadding>(data, len)
        .expect("whole blocks");
}

/// The same backwards; false if these are not whole blocks.
pub fn decrypt(key: &[u8], iv: &[u8; 16], data: &mut [u8]) -> bool {
    cbc::Decryptor::<Aes128>::new_from_slices(key, iv)
        .expect("a key of 16 octets")
        .decrypt_padded::<NoPadding>(data)
        .is_ok()
}
