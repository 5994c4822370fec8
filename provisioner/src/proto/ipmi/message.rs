//! The IPMI message inside a LAN packet: addresses, network function, sequence, command, data, two checksums (13.8).
//!
//! It does not look at what a command means. Bridging to other controllers is not done here: the responder is always
//! the BMC (0x20) and the requester always remote software (0x81).

use super::reason::DropReason;

/// Address of the BMC.
pub const BMC_ADDRESS: u8 = 0x20;
/// Address of the remote console's software, id 40h.
pub const REMOTE_ADDRESS: u8 = 0x81;
/// Octets of a request beside its data.
const REQUEST_BYTES: usize = 7;
/// Octets of a response beside its data, completion code included.
const RESPONSE_BYTES: usize = 8;

/// A response, borrowed from the decrypted payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// Network function of the response: that of the request plus one.
    pub netfn: u8,
    /// Command number, as in the request.
    pub command: u8,
    /// Sequence number of the request, 0–63.
    pub rq_seq: u8,
    /// Completion code.
    pub completion: u8,
    /// What follows the completion code.
    pub data: &'a [u8],
}

/// Appends a request to `out`. `rq_seq` is taken modulo 64.
pub fn encode_request(out: &mut Vec<u8>, netfn: u8, command: u8, rq_seq: u8, data: &[u8]) {
    out.reserve(REQUEST_BYTES + data.len());
    let head = [BMC_ADDRESS, netfn << 2];
    out.extend_from_slice(&head);
    out.push(checksum(&head));
    let body = out.len();
    out.extend_from_slice(&[REMOTE_ADDRESS, rq_seq << 2, command]);
    out.extend_from_slice(data);
    out.push(checksum(&out[body..]));
}

/// Reads a response; the reason to drop it if it is too short, its checksums do not match or it is not from the BMC to us.
pub fn decode_response(payload: &[u8]) -> Result<Response<'_>, DropReason> {
    if payload.len() < RESPONSE_BYTES {
        return Err(DropReason::Truncated);
    }
    let (head, body) = payload.split_at(3);
    if sum(head) != 0 || sum(body) != 0 {
        return Err(DropReason::BadChecksum);
    }
    if head[0] != REMOTE_ADDRESS || body[0] != BMC_ADDRESS || head[1] & 0x03 != 0 || body[1] & 0x03 != 0 {
        return Err(DropReason::WrongAddress);
    }
    Ok(Response {
        netfn: head[1] >> 2,
        command: body[2],
        rq_seq: body[1] >> 2,
        completion: body[3],
        data: &body[4..body.len() - 1],
    })
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The two's complement checksum: it and what it covers add up to zero modulo 256.
fn checksum(bytes: &[u8]) -> u8 {
    sum(bytes).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_octets_of_the_specification() {
        let mut out = Vec::new();
        encode_request(&mut out, 0x06, 0x38, 1, &[0x8e, 0x04]);
        assert_eq!(out, [0x20, 0x18, 0xc8, 0x81, 0x04, 0x38, 0x8e, 0x04, 0xb1]);
    }

    #[test]
    fn a_response_is_read_or_dropped_with_its_reason() {
        let good = [0x81, 0x04, 0x7b, 0x20, 0x0c, 0x01, 0x00, 0x21, 0x10, 0xa2];
        let read = Response { netfn: 0x01, command: 0x01, rq_seq: 3, completion: 0, data: &[0x21, 0x10] };
        assert_eq!(decode_response(&good), Ok(read));

        let from = |address: u8, lun: u8| {
            let mut bytes = good;
            bytes[3] = address;
            bytes[4] |= lun;
            bytes[9] = checksum(&bytes[3..9]);
            bytes
        };
        let flip = |at: usize| {
            let mut bytes = good;
            bytes[at] ^= 0x40;
            bytes
        };
        let cases: [(&str, Vec<u8>, DropReason); 6] = [
            ("empty", vec![], DropReason::Truncated),
            ("no completion code", good[..7].to_vec(), DropReason::Truncated),
            ("header checksum", flip(1).to_vec(), DropReason::BadChecksum),
            ("body checksum", flip(7).to_vec(), DropReason::BadChecksum),
            ("another controller", from(0x22, 0).to_vec(), DropReason::WrongAddress),
            ("another logical unit", from(0x20, 2).to_vec(), DropReason::WrongAddress),
        ];
        for (name, bytes, reason) in cases {
            assert_eq!(decode_response(&bytes), Err(reason), "{name}");
        }
    }
}
