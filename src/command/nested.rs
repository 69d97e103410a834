//! Commands within a command: `n`, and then each command with its number of arguments before it.

use std::ops::Range;

use crate::model::key::Show;

/// Where the commands are among the arguments of `WT.BATCH n argc command … [argc command …]`, each from
/// its name on. `first`: where `n` is.
pub fn ranges<'a>(
    argc: usize,
    first: usize,
    arg: impl Fn(usize) -> &'a [u8],
) -> Result<Vec<Range<usize>>, String> {
    let number = |at: usize| {
        let text = std::str::from_utf8(arg(at)).ok()?;
        text.parse::<usize>().ok().filter(|number| *number > 0)
    };
    let Some(count) = (first < argc).then(|| number(first)).flatten() else {
        let given = if first < argc { arg(first) } else { &[] };
        return Err(format!("{} is no number of commands, expected 1 or more", Show(given)));
    };
    let (mut ranges, mut at) = (Vec::new(), first + 1);
    for n in 1..=count {
        if at >= argc {
            return Err(format!("{count} commands are said to follow, and there are {}", n - 1));
        }
        let Some(length) = number(at) else {
            let given = Show(arg(at));
            return Err(format!(
                "command {n} of {count}: expected its number of arguments before it, not {given}"
            ));
        };
        let left = argc - at - 1;
        if length > left {
            return Err(format!(
                "command {n} of {count}: {length} arguments are said to follow, and there are {left}"
            ));
        }
        ranges.push(at + 1..at + 1 + length);
        at += 1 + length;
    }
    match argc - at {
        0 => Ok(ranges),
        left => Err(format!("{left} arguments are left after the {count} commands")),
    }
}

/// Where the key of each of these commands is.
pub fn keys(commands: &[Range<usize>]) -> Vec<usize> {
    commands.iter().filter(|range| range.len() > 1).map(|range| range.start + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Vec<Range<usize>>, String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        ranges(args.len(), 1, |at| args[at])
    }

    #[test]
    fn each_command_has_its_length_before_it() {
        assert_eq!(of("WT.BATCH 2 4 HSET k f v 2 DEL k"), Ok(vec![3..7, 8..10]));
        assert_eq!(of("WT.BATCH 1 1 PING").map(|ranges| ranges[0].clone()), Ok(3..4));
    }

    #[test]
    fn counts_that_do_not_fit() {
        for (line, problem) in [
            ("B 0 1 a", "\"0\" is no number of commands, expected 1 or more"),
            ("B -1 1 a", "\"-1\" is no number of commands, expected 1 or more"),
            ("B x 1 a", "\"x\" is no number of commands, expected 1 or more"),
            ("B 2 1 a", "2 commands are said to follow, and there are 1"),
            ("B 18446744073709551615 1 a", "18446744073709551615 commands are said to follow, and there are 1"),
            ("B 2 1 a b c", "command 2 of 2: expected its number of arguments before it, not \"b\""),
            ("B 1 0 a", "command 1 of 1: expected its number of arguments before it, not \"0\""),
            ("B 1 3 a b", "command 1 of 1: 3 arguments are said to follow, and there are 2"),
            ("B 1 1 a b", "1 arguments are left after the 1 commands"),
            ("B 1 18446744073709551615 a", "command 1 of 1: 18446744073709551615 arguments are said to follow, and there are 1"),
        ] {
            assert_eq!(of(line).unwrap_err(), problem, "{line}");
        }
    }
}
