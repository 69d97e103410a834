//! The slots of a Redis Cluster: which keys are in one.

use std::sync::LazyLock;

/// One of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

/// How many slots there are.
const SLOTS: u16 = 16384;

impl Slot {
    /// How many there are.
    pub const COUNT: usize = SLOTS as usize;

    /// A key's slot: CRC-16 (XMODEM) of its tag, or of all of it.
    pub fn of(key: &[u8]) -> Slot {
        let byte = |crc: u16, byte: &u8| crc << 8 ^ CRC[usize::from((crc >> 8) as u8 ^ byte)];
        Slot(tag(key).unwrap_or(key).iter().fold(0, byte) % SLOTS)
    }

    /// By its number.
    pub fn numbered(number: u16) -> Slot {
        Slot(number % SLOTS)
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Slot> {
        (0..SLOTS).map(Slot)
    }

    /// The least whole number that has this slot: the same one everywhere, for a name that is to be in it.
    pub fn tag(self) -> u32 {
        TAGS[usize::from(self.0)]
    }
}

/// What a byte does to the checksum.
const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// By slot: the least whole number that has it.
static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut tags = vec![None; Slot::COUNT];
    let mut left = tags.len();
    for n in 0_u32.. {
        let slot = Slot::of(n.to_string().as_bytes());
        let tag = &mut tags[usize::from(slot.0)];
        left -= usize::from(tag.is_none());
        tag.get_or_insert(n);
        if left == 0 {
            break;
        }
    }
    tags.into_iter().flatten().collect()
});

/// A name that begins with the key's text where it can, and is in the key's slot.
pub fn name_beside(key: &[u8], name: &[u8]) -> Vec<u8> {
    match key {
        _ if tag(key).is_some() => [key, name].concat(),
        _ if !key.contains(&b'}') => [b"{", key, b"}", name].concat(),
        // No tag can be that text: one that has its slot, then.
        _ => [b"{", Slot::of(key).tag().to_string().as_bytes(), b"}", name].concat(),
    }
}

/// What is between the first `{` and the first `}` behind it, unless that is nothing.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&b| b == b'{')?;
    let rest = &key[open + 1..];
    let length = rest.iter().position(|&b| b == b'}')?;
    (length > 0).then(|| &rest[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(key: &[u8]) -> u16 {
        Slot::of(key).number()
    }

    /// As `CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_redis() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"x{foo}y"), 12182);
        assert_eq!(slot(b"foo{}{bar}"), 8363);
        assert_eq!(slot(b"foo{{bar}}zap"), 4015);
    }

    #[test]
    fn the_name_is_in_the_keys_slot() {
        for key in ["a", "a}b", "{}", "{x}y", "}{", "{a", "items:{}{b}", "users:1"] {
            let name = name_beside(key.as_bytes(), b":other");
            assert_eq!(slot(&name), slot(key.as_bytes()), "{key}");
            assert!(name.ends_with(b":other"));
        }
    }

    #[test]
    fn each_slot_has_a_tag() {
        for slot in Slot::all() {
            let tag = slot.tag();
            assert_eq!(Slot::of(format!("{{{tag}}}:behind:users").as_bytes()), slot);
            assert!((0..tag.min(50)).all(|less| Slot::of(less.to_string().as_bytes()) != slot));
        }
    }
}
