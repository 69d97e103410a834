//! Commands within a command, as their client types them.

/// `WT.BATCH 2 4 HSET __{items:1} name x …`, of `["HSET __{items:1} name x", …]`.
pub fn batch_of(lines: &[impl AsRef<str>]) -> Vec<String> {
    nested("WT.BATCH", lines)
}

/// The same as one transaction.
pub fn transaction_of(lines: &[impl AsRef<str>]) -> Vec<String> {
    nested("WT.TRANSACTION", lines)
}

fn nested(name: &str, lines: &[impl AsRef<str>]) -> Vec<String> {
    let mut words = vec![name.to_string(), lines.len().to_string()];
    for line in lines {
        let line: Vec<&str> = line.as_ref().split(' ').collect();
        words.push(line.len().to_string());
        words.extend(line.into_iter().map(str::to_string));
    }
    words
}
