//! Fuzzing of the DHCP packet path, on the stable toolchain: seeded, bounded, and the same for the same seed.
//!
//! Each packet is held to three things. The parser reads it as [`mod@reference`] does, which is the RFCs written down once more with no eye on speed.
//! Where dhcproto can be compared ([`oracle`]), it says the same. And it goes through a whole [`server`] without sockets: it is answered, or dropped
//! with a reason, and what is answered is well-formed.
//!
//! Packets come from the corpus (`corpus/*.hex`, as clients sent them), from mutations of those, and from following up what the server said.

pub mod ipmi;
pub mod mutate;
pub mod oracle;
pub mod random;
pub mod reference;
pub mod server;

use mutate::Mutator;
use server::Server;

/// A run of the fuzzer.
pub struct Fuzzer {
    mutator: Mutator,
    server: Server,
}

/// What a run has met, so that one that meets nothing is noticed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Met {
    /// Packets.
    pub packets: u64,
    /// Packets that the parser accepts.
    pub parsed: u64,
    /// Packets of which dhcproto read every option.
    pub compared_whole: u64,
    /// Packets with an option in parts or in `file` and `sname`.
    pub joined: u64,
    /// Replies.
    pub replies: u64,
    /// Bindings acknowledged.
    pub acknowledged: u64,
}

impl Fuzzer {
    /// A fuzzer over the corpus.
    pub fn new(seed: u64) -> Self {
        Self { mutator: Mutator::new(seed, corpus()), server: Server::start() }
    }

    /// Makes one packet and holds it against everything.
    ///
    /// # Panics
    /// With the packet in hexadecimal when something is not as it must be.
    pub fn step(&mut self, met: &mut Met) {
        let packet = self.mutator.next_packet();
        self.try_packet(&packet, met);
    }

    /// Holds one packet against everything.
    ///
    /// # Panics
    /// Like [`Self::step`].
    pub fn try_packet(&mut self, packet: &[u8], met: &mut Met) {
        let announced = Announce(packet);
        met.packets += 1;
        oracle::check_request(packet, met);
        let link = self.mutator.link();
        if let Some(reply) = self.server.handle(packet, link) {
            met.replies += 1;
            oracle::check_reply(packet, &reply, met);
            self.mutator.heard(&reply);
        }
        std::mem::forget(announced);
    }
}

/// Says the packet when a check panics.
struct Announce<'a>(&'a [u8]);

impl Drop for Announce<'_> {
    fn drop(&mut self) {
        eprintln!("the packet, for a file of the corpus:\n{}", to_hex(self.0));
    }
}

/// The corpus, in the order of the files' names.
///
/// # Panics
/// When a file cannot be read or is not hexadecimal.
pub fn corpus() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a readable file");
        from_hex(&text).unwrap_or_else(|| panic!("{} is not hexadecimal", path.display()))
    };
    files.iter().map(read).collect()
}

fn to_hex(octets: &[u8]) -> String {
    let lines = octets.chunks(32).map(|line| line.iter().map(|octet| format!("{octet:02x}")).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

/// Hexadecimal with white space, and comments from `#` to the line's end.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.lines().flat_map(|line| line.split('#').next().unwrap_or("").chars());
    let digits: Vec<u32> = digits.filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}
