//! "did you mean …?"

/// `; did you mean "x"?` for the known name that is nearest, or nothing when none is near.
pub fn among<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let length = given.chars().count();
    let most = |name: &str| 1 + name.chars().count() / 4;
    known
        .into_iter()
        // The distance is no less; and to measure it takes time and memory with the product.
        .filter(|name| length.abs_diff(name.chars().count()) <= most(name))
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= most(name))
        .min()
        .map(|(_, name)| format!("; did you mean {name:?}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_near() {
        let known = ["date_of_birth", "email"];
        assert_eq!(super::among("date_of_brith", known), "; did you mean \"date_of_birth\"?");
        assert_eq!(super::among("balance", known), "");
    }
}
