//! Is a CHECK constraint a range?
//!
//! Increments in one direction can share a statement if the database that takes their sum would
//! have taken each part. That holds where every constraint is a range: what is true of two values
//! is true of all between.

/// True when the definition (as `pg_get_constraintdef` prints it) is nothing but comparisons with
/// `<`, `<=`, `>`, `>=` between columns and literals, joined by AND.
pub fn is_range(definition: &str) -> bool {
    let Some(text) = definition.strip_prefix("CHECK ") else { return false };
    let words = without_quoted(text).replace("::", " ::");
    words.split([' ', '(', ')']).filter(|word| !word.is_empty()).all(is_plain) && !calls(&words)
}

fn is_plain(word: &str) -> bool {
    match word {
        "<" | "<=" | ">" | ">=" | "AND" => true,
        "OR" | "NOT" | "IS" | "IN" | "ANY" | "CASE" => false,
        _ => {
            let word = word.strip_prefix("::").unwrap_or(word);
            let word = word.strip_prefix('-').unwrap_or(word);
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.') || b >= 0x80)
        }
    }
}

/// A name right before a parenthesis is a function.
fn calls(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(2).any(|pair| pair[1] == b'(' && !matches!(pair[0], b' ' | b'('))
}

/// Quoted names and literals become a plain `q`: they may hold anything.
fn without_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                out.push('q');
            }
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::is_range;

    #[test]
    fn comparisons_and_nothing_else() {
        let ranges = [
            "CHECK ((stock >= 0))",
            "CHECK (((stock >= 0) AND (stock <= 100)))",
            "CHECK ((balance >= '-500'::integer))",
            "CHECK ((reserved <= \"In Stock (now)\"))",
            "CHECK ((price > (0)::numeric))",
        ];
        let others = [
            "CHECK ((stock <> 3))",
            "CHECK ((stock = 3))",
            "CHECK (((stock % 5) = 0))",
            "CHECK (((stock >= 5) OR (stock <= 1)))",
            "CHECK ((abs(stock) < 10))",
            "CHECK ((- stock < 10))",
            "CHECK ((stock + 1) < 5)",
            "CHECK (is_fine(stock))",
            "CHECK ((stock = ANY (ARRAY[1, 3])))",
            "FOREIGN KEY (stock) REFERENCES s(id)",
        ];
        ranges.iter().for_each(|text| assert!(is_range(text), "{text}"));
        others.iter().for_each(|text| assert!(!is_range(text), "{text}"));
    }
}
