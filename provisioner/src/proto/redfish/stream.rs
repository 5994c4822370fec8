//! [`EventCount`]: a stream of server-sent events (DSP0266, 13.5.3; WHATWG HTML, 9.2), of which only counts that one has come.
//!
//! What an event says is not believed: it is an occasion to look.

/// Octets of a line; more is no event.
const LINE_BYTES_MAX: usize = 256 << 10;

/// Counts the events in a stream that comes in pieces.
#[derive(Debug, Default)]
pub struct EventCount {
    /// Octets of the line that has begun.
    line_bytes: usize,
    /// It begins as this.
    begins: [u8; 5],
    has_data: bool,
    /// The octet before was CR: an LF that follows belongs to it.
    after_cr: bool,
}

/// A line is longer than any that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl EventCount {
    /// Takes the next piece; gives how many events it completes.
    pub fn push(&mut self, piece: &[u8]) -> Result<usize, TooLong> {
        let mut events = 0;
        for &octet in piece {
            let was_cr = std::mem::replace(&mut self.after_cr, octet == b'\r');
            match octet {
                b'\n' if was_cr => {}
                b'\n' | b'\r' => events += usize::from(self.end_line()),
                _ if self.line_bytes >= LINE_BYTES_MAX => return Err(TooLong),
                _ => {
                    if let Some(place) = self.begins.get_mut(self.line_bytes) {
                        *place = octet;
                    }
                    self.line_bytes += 1;
                }
            }
        }
        Ok(events)
    }

    /// True if an event is complete: the line is empty, and there were data before.
    fn end_line(&mut self) -> bool {
        match std::mem::take(&mut self.line_bytes) {
            0 => std::mem::take(&mut self.has_data),
            4 if &self.begins[..4] == b"data" => {
                self.has_data = true;
                false
            }
            bytes => {
                self.has_data |= bytes >= 5 && &self.begins == b"data:";
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let cases: [(&[u8], usize); 8] = [
            (b"id: 1\ndata: {\ndata: }\n\n", 1),
            (b"data:x\r\n\r\ndata:y\r\n\r\n", 2),
            (b"data: x\r\rdata: y\r\r", 2),
            (b": keep-alive\n\n: again\n\n", 0),
            (b"id: 7\n\n", 0),
            (b"data: not yet\n", 0),
            (b"data\n\n", 1),
            (b"database: no\n\n", 0),
        ];
        for (stream, events) in cases {
            for cut in 0..=stream.len() {
                let mut count = EventCount::default();
                let found = count.push(&stream[..cut]).unwrap() + count.push(&stream[cut..]).unwrap();
                assert_eq!(found, events, "{:?} cut at {cut}", String::from_utf8_lossy(stream));
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_no_event() {
        let mut count = EventCount::default();
        assert_eq!(count.push(&vec![b'x'; LINE_BYTES_MAX]), Ok(0));
        assert_eq!(count.push(b"x"), Err(TooLong));
    }
}
