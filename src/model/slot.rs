//! The slots of a Redis Cluster: which keys are in one.

/// How many slots there are.
const SLOTS: u16 = 16384;

/// A name that begins with the key's text where it can, and is in the key's slot.
pub fn name_beside(key: &[u8], name: &[u8]) -> Vec<u8> {
    match key {
        _ if tag(key).is_some() => [key, name].concat(),
        _ if !key.contains(&b'}') => [b"{", key, b"}", name].concat(),
        // No tag can be that text: one that has its slot, then.
        _ => {
            let slot = slot(key);
            let mut tags = (0_u32..).map(|n| n.to_string());
            let tag = tags.find(|tag| self::slot(tag.as_bytes()) == slot).unwrap_or_default();
            [b"{", tag.as_bytes(), b"}", name].concat()
        }
    }
}

/// What is between the first `{` and the first `}` behind it, unless that is nothing.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&b| b == b'{')?;
    let rest = &key[open + 1..];
    let length = rest.iter().position(|&b| b == b'}')?;
    (length > 0).then(|| &rest[..length])
}

/// A key's slot: CRC-16 (XMODEM) of its tag, or of all of it.
fn slot(key: &[u8]) -> u16 {
    let shift = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
    let byte = |crc: u16, byte: &u8| (0..8).fold(crc ^ u16::from(*byte) << 8, shift);
    tag(key).unwrap_or(key).iter().fold(0, byte) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
