//! The IPMI message inside a LAN packet: addresses, network function, sequence, command, data, two checksums (13.8), and
//! its envelopes on the way to a controller behind the BMC (Send Message, 22.7; bridging, 6.13).
//!
//! It does not look at what a command means. The requester is always remote software (0x81).

use super::reason::DropReason;

/// Address of the BMC.
pub const BMC_ADDRESS: u8 = 0x20;
/// Address of the remote console's software, id 40h.
pub const REMOTE_ADDRESS: u8 = 0x81;
/// Network function and number of Send Message.
pub const SEND_MESSAGE: (u8, u8) = (0x06, 0x34);
/// Octets of a request beside its data.
const REQUEST_BYTES: usize = 7;
/// Octets of a response beside its data, completion code included.
const RESPONSE_BYTES: usize = 8;
/// Send Message: the BMC remembers who asked and sends the answer on (table 22-9).
const TRACK: u8 = 0x40;

/// A controller on a bus behind another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The channel of the bus, 0–15; 0 is the primary IPMB.
    pub channel: u8,
    /// The controller's address on it, even.
    pub address: u8,
}

/// Which controller a request is for, and how it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Route {
    /// The logical unit of the controller, 0–3.
    pub lun: u8,
    /// A first controller behind the BMC.
    pub first: Option<Hop>,
    /// A second one behind the first: double bridging.
    pub second: Option<Hop>,
}

impl Route {
    /// The BMC itself, logical unit 0.
    pub const BMC: Self = Self { lun: 0, first: None, second: None };

    /// A controller behind the BMC.
    pub const fn bridged(hop: Hop) -> Self {
        Self { lun: 0, first: Some(hop), second: None }
    }

    /// A controller behind a controller behind the BMC.
    pub const fn double_bridged(first: Hop, second: Hop) -> Self {
        Self { lun: 0, first: Some(first), second: Some(second) }
    }

    /// True for a controller other than the BMC.
    pub const fn is_bridged(&self) -> bool {
        self.first.is_some()
    }

    /// May an answer bear this address? The controllers on the way answer for those behind them.
    fn passes(&self, address: u8) -> bool {
        let is = |hop: Option<Hop>| hop.is_some_and(|hop| hop.address == address);
        address == BMC_ADDRESS || is(self.first) || is(self.second)
    }
}

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

impl<'a> Response<'a> {
    /// What a controller on the way put into its answer to Send Message: the answer of the one behind it; the answer itself
    /// if it has none inside.
    pub fn innermost(self, route: &Route) -> Result<Self, DropReason> {
        let mut inner = self;
        for _ in 0..2 {
            let is_envelope = (inner.netfn, inner.command) == (SEND_MESSAGE.0 | 1, SEND_MESSAGE.1);
            if !is_envelope || inner.completion != 0 || inner.data.is_empty() {
                break;
            }
            inner = decode(inner.data, route, None)?;
        }
        Ok(inner)
    }
}

/// Appends a request to the BMC to `out`. `rq_seq` is taken modulo 64.
pub fn encode_request(out: &mut Vec<u8>, netfn: u8, command: u8, rq_seq: u8, data: &[u8]) {
    encode(out, (BMC_ADDRESS, 0), (netfn, command), REMOTE_ADDRESS, rq_seq, data);
}

/// Appends a request to the controller at the end of `route`, in as many envelopes as it needs.
pub fn encode_routed(out: &mut Vec<u8>, route: &Route, netfn: u8, command: u8, rq_seq: u8, data: &[u8]) {
    let Some(first) = route.first else {
        return encode(out, (BMC_ADDRESS, route.lun), (netfn, command), REMOTE_ADDRESS, rq_seq, data);
    };
    let envelope = |hop: Hop, message: &[u8]| [&[hop.channel & 0x0f | TRACK], message].concat();
    let mut message = Vec::new();
    match route.second {
        None => encode(&mut message, (first.address, route.lun), (netfn, command), BMC_ADDRESS, rq_seq, data),
        Some(second) => {
            let mut inner = Vec::new();
            encode(&mut inner, (second.address, route.lun), (netfn, command), first.address, rq_seq, data);
            encode(&mut message, (first.address, 0), SEND_MESSAGE, BMC_ADDRESS, rq_seq, &envelope(second, &inner));
        }
    }
    encode(out, (BMC_ADDRESS, 0), SEND_MESSAGE, REMOTE_ADDRESS, rq_seq, &envelope(first, &message));
}

fn encode(out: &mut Vec<u8>, to: (u8, u8), what: (u8, u8), from: u8, rq_seq: u8, data: &[u8]) {
    out.reserve(REQUEST_BYTES + data.len());
    let head = [to.0, what.0 << 2 | to.1 & 0x03];
    out.extend_from_slice(&head);
    out.push(checksum(&head));
    let body = out.len();
    out.extend_from_slice(&[from, rq_seq << 2, what.1]);
    out.extend_from_slice(data);
    out.push(checksum(&out[body..]));
}

/// Reads a response; the reason to drop it if it is too short, its checksums do not match or it is not from the BMC to us.
pub fn decode_response(payload: &[u8]) -> Result<Response<'_>, DropReason> {
    decode(payload, &Route::BMC, Some(REMOTE_ADDRESS))
}

/// Reads a response that comes by `route`: like [`decode_response`], but the controllers on the way may have sent it, and it may still
/// bear the BMC's address as its destination, on whose behalf the request went out (so does `ipmi_sim`).
pub fn decode_routed<'a>(payload: &'a [u8], route: &Route) -> Result<Response<'a>, DropReason> {
    decode(payload, route, if route.is_bridged() { None } else { Some(REMOTE_ADDRESS) })
}

fn decode<'a>(payload: &'a [u8], route: &Route, to: Option<u8>) -> Result<Response<'a>, DropReason> {
    if payload.len() < RESPONSE_BYTES {
        return Err(DropReason::Truncated);
    }
    let (head, body) = payload.split_at(3);
    if sum(head) != 0 || sum(body) != 0 {
        return Err(DropReason::BadChecksum);
    }
    // Controllers on the way put their own logical unit here.
    let lun_fits = route.is_bridged() || (head[1] & 0x03 == 0 && body[1] & 0x03 == route.lun);
    if to.is_some_and(|to| head[0] != to) || !route.passes(body[0]) || !lun_fits {
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
    fn a_bridged_request_has_an_envelope_for_each_hop() {
        let (first, second) = (Hop { channel: 0, address: 0x2c }, Hop { channel: 7, address: 0x72 });
        let mut out = Vec::new();
        encode_routed(&mut out, &Route::bridged(first), 0x06, 0x01, 5, &[]);
        // What `ipmitool -t 0x2c` sends.
        let inner = [0x2c, 0x18, 0xbc, 0x20, 0x14, 0x01, 0xcb];
        assert_eq!(out[..7], [0x20, 0x18, 0xc8, 0x81, 0x14, 0x34, 0x40]);
        assert_eq!(out[7..14], inner);
        assert_eq!((sum(&out[3..]), out.len()), (0, 15));
        out.clear();
        encode_routed(&mut out, &Route::double_bridged(first, second), 0x06, 0x01, 5, &[]);
        assert_eq!(out[6..14], [0x40, 0x2c, 0x18, 0xbc, 0x20, 0x14, 0x34, 0x47]);
        assert_eq!(out[14..21], [0x72, 0x18, 0x76, 0x2c, 0x14, 0x01, 0xbf]);
        assert_eq!((sum(&out[3..]), sum(&out[10..22]), out.len()), (0, 0, 23));
    }

    #[test]
    fn an_answer_is_taken_out_of_its_envelopes() {
        let route = Route::double_bridged(Hop { channel: 0, address: 0x2c }, Hop { channel: 7, address: 0x72 });
        let response = |to: u8, from: u8, what: (u8, u8), data: &[u8]| {
            let mut out = Vec::new();
            encode(&mut out, (to, 0), (what.0 | 1, what.1), from, 5, &[&[0], data].concat());
            out
        };
        let innermost = response(0x2c, 0x72, (6, 1), &[0x51]);
        let middle = response(BMC_ADDRESS, 0x2c, SEND_MESSAGE, &innermost);
        let outer = response(REMOTE_ADDRESS, BMC_ADDRESS, SEND_MESSAGE, &middle);
        let read = |octets: &[u8]| {
            decode_routed(octets, &route)
                .and_then(|response| response.innermost(&route))
                .map(|r| (r.netfn, r.command, r.data.to_vec()))
        };
        assert_eq!(read(&outer), Ok((7, 1, vec![0x51])));
        assert_eq!(read(&response(REMOTE_ADDRESS, BMC_ADDRESS, SEND_MESSAGE, &[])), Ok((7, 0x34, vec![])));
        assert_eq!(read(&response(REMOTE_ADDRESS, 0x72, (6, 1), &[0x51])), Ok((7, 1, vec![0x51])));
        assert_eq!(read(&response(REMOTE_ADDRESS, 0x74, (6, 1), &[0x51])), Err(DropReason::WrongAddress));
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
