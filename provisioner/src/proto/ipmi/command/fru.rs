//! The inventory of replaceable units: Get FRU Inventory Area Info (34.1), Read FRU Data (34.2), and the areas of the *Platform Management
//! FRU Information Storage Definition* v1.0.

use super::text::field;
use super::{Command, Nonsense, netfn};

/// Asks how large a unit's inventory is; 0 is the BMC's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetFruInfo(pub u8);

impl Command for GetFruInfo {
    const NAME: &'static str = "Get FRU Inventory Area Info";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x10;
    /// Octets, and whether offsets and counts are in words of two.
    type Answer = (u16, bool);

    fn encode(&self) -> Vec<u8> {
        vec![self.0]
    }

    fn decode(data: &[u8]) -> Result<(u16, bool), Nonsense> {
        let &[low, high, access, ..] = data else { return Err(Nonsense) };
        Ok((u16::from_le_bytes([low, high]), access & 1 != 0))
    }
}

/// Reads a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFru {
    /// Which unit.
    pub unit: u8,
    /// From where, in octets or words.
    pub offset: u16,
    /// How much, likewise.
    pub count: u8,
}

impl Command for ReadFru {
    const NAME: &'static str = "Read FRU Data";
    const NETFN: u8 = netfn::STORAGE;
    const COMMAND: u8 = 0x11;
    type Answer = Vec<u8>;

    fn encode(&self) -> Vec<u8> {
        let [low, high] = self.offset.to_le_bytes();
        vec![self.unit, low, high, self.count]
    }

    fn decode(data: &[u8]) -> Result<Vec<u8>, Nonsense> {
        // The count before the data is in the same measure as asked for, so only the data tells.
        data.split_first().map(|(_count, octets)| octets.to_vec()).ok_or(Nonsense)
    }
}

/// What an inventory says: pairs of a name and a text, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// E.g. `board serial` and `AB12`.
    pub fields: Vec<(String, String)>,
}

const CHASSIS: [&str; 2] = ["part number", "serial"];
const BOARD: [&str; 5] = ["manufacturer", "product", "serial", "part number", "file id"];
const PRODUCT: [&str; 7] = ["manufacturer", "name", "part number", "version", "serial", "asset tag", "file id"];

impl Inventory {
    /// Octets of the common header, which says where the areas are.
    pub const HEADER_BYTES: usize = 8;

    /// Reads whatever areas are whole; an area that is not, or whose checksum is wrong, is left out.
    pub fn decode(octets: &[u8]) -> Result<Self, Nonsense> {
        let header: &[u8; Self::HEADER_BYTES] = octets.first_chunk().ok_or(Nonsense)?;
        if header[0] & 0x0f != 1 || sum(header) != 0 {
            return Err(Nonsense);
        }
        let mut inventory = Self::default();
        // Before the fields: version, length, then type (chassis), language and date (board) or language (product).
        let areas: [(&str, u8, usize, &[&str]); 3] =
            [("chassis", header[2], 3, &CHASSIS), ("board", header[3], 6, &BOARD), ("product", header[4], 3, &PRODUCT)];
        for (area, at, skip, names) in areas {
            if at != 0 {
                let octets = octets.get(usize::from(at) * 8..).unwrap_or_default();
                inventory.fields.extend(fields(area, octets, skip, names).unwrap_or_default());
            }
        }
        Ok(inventory)
    }
}

fn fields(area: &str, octets: &[u8], skip: usize, names: &[&str]) -> Option<Vec<(String, String)>> {
    let octets = octets.get(..usize::from(*octets.get(1)?) * 8).filter(|octets| sum(octets) == 0)?;
    let mut rest = octets.get(skip..)?;
    let mut found = Vec::new();
    // C1h ends the fields; those after the ones with names are custom.
    for at in 0.. {
        if rest.first().is_none_or(|head| *head == 0xc1) {
            break;
        }
        let (text, after) = field(rest)?;
        rest = after;
        let name = names.get(at).map_or_else(|| format!("custom {}", at + 1 - names.len()), |name| (*name).to_owned());
        if !text.is_empty() {
            found.push((format!("{area} {name}"), text));
        }
    }
    Some(found)
}

fn sum(octets: &[u8]) -> u8 {
    octets.iter().fold(0, |sum, octet| sum.wrapping_add(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(head: &[u8], fields: &[&str]) -> Vec<u8> {
        let mut area = [&[1, 0], head].concat();
        for text in fields {
            area.push(0xc0 | text.len() as u8);
            area.extend(text.bytes());
        }
        area.push(0xc1);
        area.resize(area.len() + (7 - area.len() % 8), 0);
        area[1] = (area.len() as u8 + 1) / 8;
        area.push(sum(&area).wrapping_neg());
        area
    }

    fn inventory() -> Vec<u8> {
        let (board, product) =
            (area(&[25, 0, 0, 0], &["Acme", "Board", "B-1", "", "", "own"]), area(&[25], &["Acme", "Box"]));
        let mut octets = vec![1, 0, 0, 1, 1 + (board.len() / 8) as u8, 0, 0];
        octets.push(sum(&octets).wrapping_neg());
        [octets, board, product].concat()
    }

    #[test]
    fn reads_areas_and_leaves_broken_ones_out() {
        let expected = [
            ("board manufacturer", "Acme"),
            ("board product", "Board"),
            ("board serial", "B-1"),
            ("board custom 1", "own"),
            ("product manufacturer", "Acme"),
            ("product name", "Box"),
        ];
        let good = inventory();
        let texts = |octets: &[u8]| Inventory::decode(octets).unwrap().fields;
        let pairs =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        assert_eq!(texts(&good), pairs(&expected));
        let mut spoilt = good.clone();
        spoilt[12] ^= 1;
        assert_eq!(texts(&spoilt), pairs(&expected[4..]), "the board's checksum is wrong");
        assert_eq!(texts(&good[..good.len() - 1]), pairs(&expected[..4]), "the product is cut short");
        let mut header = good;
        header[7] ^= 1;
        assert_eq!(Inventory::decode(&header), Err(Nonsense));
        assert_eq!(Inventory::decode(&[1, 0, 0]), Err(Nonsense));
    }
}
