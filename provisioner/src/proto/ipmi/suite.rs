//! Cipher suites and what they are made of (13.28, table 22-20), and which of them may be spoken.
//!
//! A suite is three algorithm numbers and three lengths; the code that authenticates and encrypts reads them from here.
//! Cipher suite 0 (no authentication at all) is spoken only where [`Suites`] was told to allow it: whoever reaches such a BMC owns it.

use aes::Aes128;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Longest digest of any suite, in octets (SHA-256).
pub const DIGEST_BYTES_MAX: usize = 32;

/// AES block, and with it the length of an initialisation vector, in octets.
pub const AES_BLOCK_BYTES: usize = 16;

/// A cipher suite this client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CipherSuite {
    /// Suite 0: nobody proves anything, nothing is signed or encrypted.
    Zero,
    /// Suite 3: RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128. Mandatory for every IPMI 2.0 BMC.
    #[default]
    Three,
    /// Suite 17: RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Seventeen,
}

/// The hash that a suite keys its HMACs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// No proof: every code is empty.
    None,
    /// HMAC-SHA1, 20 octets (RFC 2404's algorithm).
    Sha1,
    /// HMAC-SHA256, 32 octets (RFC 4868's algorithm).
    Sha256,
}

/// What a suite is made of, as numbers of the wire and lengths in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithms {
    /// Authentication algorithm number (table 13-17).
    pub authentication: u8,
    /// Integrity algorithm number (table 13-18).
    pub integrity: u8,
    /// Confidentiality algorithm number (table 13-19).
    pub confidentiality: u8,
    /// The hash of the key exchange and of the packet authentication code.
    pub digest: Digest,
    /// Length of the whole digest: RAKP 2 and RAKP 3 codes, session keys.
    pub digest_bytes: usize,
    /// Length of the truncated digest in RAKP 4.
    pub rakp4_check_bytes: usize,
    /// Length of the authentication code that ends every packet of a session; 0: packets are neither signed nor encrypted.
    pub packet_code_bytes: usize,
}

impl CipherSuite {
    /// Every suite, best first.
    pub const ALL: [Self; 3] = [Self::Seventeen, Self::Three, Self::Zero];

    /// The suite's number.
    pub const fn id(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::Three => 3,
            Self::Seventeen => 17,
        }
    }

    /// The suite of this number, if it is spoken here.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    /// The algorithms of this suite.
    pub const fn algorithms(self) -> Algorithms {
        match self {
            Self::Zero => Algorithms {
                authentication: 0,
                integrity: 0,
                confidentiality: 0,
                digest: Digest::None,
                digest_bytes: 0,
                rakp4_check_bytes: 0,
                packet_code_bytes: 0,
            },
            Self::Three => Algorithms {
                authentication: 0x01,
                integrity: 0x01,
                confidentiality: 0x01,
                digest: Digest::Sha1,
                digest_bytes: 20,
                rakp4_check_bytes: 12,
                packet_code_bytes: 12,
            },
            Self::Seventeen => Algorithms {
                authentication: 0x03,
                integrity: 0x04,
                confidentiality: 0x01,
                digest: Digest::Sha256,
                digest_bytes: 32,
                rakp4_check_bytes: 16,
                packet_code_bytes: 16,
            },
        }
    }
}

/// Which suites may be spoken with a BMC. By default the best that it offers, and never suite 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Suites {
    only: Option<CipherSuite>,
    allow_zero: bool,
}

impl Suites {
    /// This suite and no other, without asking what the BMC offers. `None` for suite 0, which has to be allowed.
    pub fn only(suite: CipherSuite) -> Option<Self> {
        (suite != CipherSuite::Zero).then_some(Self { only: Some(suite), allow_zero: false })
    }

    /// Allows suite 0: where it is the only one offered, or (`only`) always.
    pub const fn allowing_zero(only: bool) -> Self {
        Self { only: if only { Some(CipherSuite::Zero) } else { None }, allow_zero: true }
    }

    /// The one suite, if the BMC is not to be asked.
    pub const fn fixed(self) -> Option<CipherSuite> {
        self.only
    }

    /// The best of those that a BMC offers, by number; `None` if there is none that may be spoken.
    pub fn best(self, offered: &[u8]) -> Option<CipherSuite> {
        let may =
            |suite: &CipherSuite| offered.contains(&suite.id()) && (*suite != CipherSuite::Zero || self.allow_zero);
        CipherSuite::ALL.into_iter().find(may)
    }
}

/// A whole digest; wiped when dropped.
#[derive(Clone)]
pub struct Code {
    bytes: Zeroizing<[u8; DIGEST_BYTES_MAX]>,
    len: usize,
}

impl Code {
    /// The octets of the digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({} octets)", self.len)
    }
}

impl Digest {
    /// HMAC over the parts, one after another.
    pub fn code(self, key: &[u8], parts: &[&[u8]]) -> Code {
        let mut bytes = Zeroizing::new([0; DIGEST_BYTES_MAX]);
        let len = match self {
            Self::None => 0,
            Self::Sha1 => {
                bytes[..20].copy_from_slice(sha1(key, parts).finalize().as_bytes());
                20
            }
            Self::Sha256 => {
                bytes.copy_from_slice(sha256(key, parts).finalize().as_bytes());
                32
            }
        };
        Code { bytes, len }
    }

    /// True if `code` (whole or truncated on the right, empty only without a digest) is the HMAC over the parts. Takes the
    /// same time wherever the first difference is.
    pub fn verify(self, key: &[u8], parts: &[&[u8]], code: &[u8]) -> bool {
        match self {
            Self::None => code.is_empty(),
            Self::Sha1 => sha1(key, parts).verify_truncated_left(code).is_ok(),
            Self::Sha256 => sha256(key, parts).verify_truncated_left(code).is_ok(),
        }
    }
}

fn sha256(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| hmac.update(part));
    hmac
}

fn sha1(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha1> {
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        hmac.update(part);
    }
    hmac
}

/// Encrypts in place with AES-128 in CBC mode; the length of `data` must be a multiple of the block.
pub fn encrypt(key: &[u8; 16], iv: &[u8; AES_BLOCK_BYTES], data: &mut [u8]) {
    let len = data.len();
    cbc::Encryptor::<Aes128>::new(key.into(), iv.into())
        .encrypt_padded::<NoPadding>(data, len)
        .expect("the caller pads to whole blocks");
}

/// Decrypts in place with AES-128 in CBC mode; false, with `data` in an undefined state, if its length is not a multiple of the block.
pub fn decrypt(key: &[u8; 16], iv: &[u8; AES_BLOCK_BYTES], data: &mut [u8]) -> bool {
    cbc::Decryptor::<Aes128>::new(key.into(), iv.into()).decrypt_padded::<NoPadding>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202, section 3, test cases 1, 2 and 6.
    #[test]
    fn hmac_sha1_gives_the_digests_of_rfc_2202() {
        type Case<'a> = (&'a [u8], &'a [&'a [u8]], [u8; 20]);
        let cases: [Case<'_>; 3] = [
            (
                &[0x0b; 20],
                &[b"Hi ", b"There"],
                [
                    0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72, 0x64, 0xe2, 0x8b, 0xc0, 0xb6, 0xfb, 0x37, 0x8c, 0x8e,
                    0xf1, 0x46, 0xbe, 0x00,
                ],
            ),
            (
                b"Jefe",
                &[b"what do ya want for nothing?"],
                [
                    0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84, 0xdf, 0x9c,
                    0x25, 0x9a, 0x7c, 0x79,
                ],
            ),
            (
                &[0xaa; 80],
                &[b"Test Using Larger Than Block-Size Key - Hash Key First"],
                [
                    0xaa, 0x4a, 0xe5, 0xe1, 0x52, 0x72, 0xd0, 0x0e, 0x95, 0x70, 0x56, 0x37, 0xce, 0x8a, 0x3b, 0x55,
                    0xed, 0x40, 0x21, 0x12,
                ],
            ),
        ];
        for (key, parts, digest) in cases {
            assert_eq!(Digest::Sha1.code(key, parts).as_bytes(), digest);
            assert!(Digest::Sha1.verify(key, parts, &digest));
            assert!(Digest::Sha1.verify(key, parts, &digest[..12]));
            for i in 0..20 {
                let mut wrong = digest;
                wrong[i] ^= 1;
                assert!(!Digest::Sha1.verify(key, parts, &wrong), "octet {i}");
            }
            assert!(!Digest::Sha1.verify(key, parts, &[]), "an empty code proves nothing");
        }
    }

    /// RFC 4231, sections 4.3 and 4.4 (test cases 1 and 2).
    #[test]
    fn hmac_sha256_gives_the_digests_of_rfc_4231() {
        type Case<'a> = (&'a [u8], &'a [&'a [u8]], [u128; 2]);
        let cases: [Case<'_>; 2] = [
            (
                &[0x0b; 20],
                &[b"Hi ", b"There"],
                [0xb034_4c61_d8db_3853_5ca8_afce_af0b_f12b, 0x881d_c200_c983_3da7_26e9_376c_2e32_cff7],
            ),
            (
                b"Jefe",
                &[b"what do ya want for nothing?"],
                [0x5bdc_c146_bf60_754e_6a04_2426_0895_75c7, 0x5a00_3f08_9d27_3983_9dec_58b9_64ec_3843],
            ),
        ];
        for (key, parts, digest) in cases {
            let digest = digest.map(u128::to_be_bytes).concat();
            assert_eq!(Digest::Sha256.code(key, parts).as_bytes(), digest);
            assert!(Digest::Sha256.verify(key, parts, &digest[..16]));
            assert!(!Digest::Sha256.verify(key, parts, &digest[1..17]));
        }
    }

    #[test]
    fn the_best_suite_that_may_be_spoken_is_chosen() {
        use CipherSuite::{Seventeen, Three, Zero};
        let any = Suites::default();
        let cases: [(Suites, &[u8], Option<CipherSuite>); 6] = [
            (any, &[0, 1, 2, 3, 17], Some(Seventeen)),
            (any, &[1, 3, 8, 12], Some(Three)),
            (any, &[0, 1, 2], None),
            (any, &[], None),
            (Suites::allowing_zero(false), &[0, 3], Some(Three)),
            (Suites::allowing_zero(false), &[0, 1], Some(Zero)),
        ];
        for (suites, offered, expected) in cases {
            assert_eq!(suites.best(offered), expected, "{suites:?} {offered:?}");
        }
        assert_eq!(Suites::only(Three).and_then(Suites::fixed), Some(Three));
        assert_eq!(Suites::only(Zero), None, "suite 0 has to be allowed");
        assert_eq!(Suites::allowing_zero(true).fixed(), Some(Zero));
        for suite in CipherSuite::ALL {
            assert_eq!(CipherSuite::from_id(suite.id()), Some(suite));
        }
        assert_eq!(CipherSuite::from_id(8), None);
    }

    /// NIST SP 800-38A, F.2.1, the first two blocks.
    #[test]
    fn aes_cbc_gives_the_blocks_of_sp_800_38a() {
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let iv = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes();
        let plain = [0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a_u128, 0xae2d_8a57_1e03_ac9c_9eb7_6fac_45af_8e51];
        let cipher = [0x7649_abac_8119_b246_cee9_8e9b_12e9_197d_u128, 0x5086_cb9b_5072_19ee_95db_113a_9176_78b2];
        let mut data: Vec<u8> = plain.iter().flat_map(|block| block.to_be_bytes()).collect();
        encrypt(&key, &iv, &mut data);
        assert_eq!(data, cipher.iter().flat_map(|block| block.to_be_bytes()).collect::<Vec<_>>());
        assert!(decrypt(&key, &iv, &mut data));
        assert_eq!(data, plain.iter().flat_map(|block| block.to_be_bytes()).collect::<Vec<_>>());
        assert!(!decrypt(&key, &iv, &mut data[..31]), "half a block is refused");
    }
}
