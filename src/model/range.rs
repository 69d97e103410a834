//! CHECK constraints that the module understands completely: whole numbers between bounds.
//!
//! Such a constraint says the same of a sum as of its parts, and it can be told what it says of a
//! default. Every other constraint is the database's own affair.

/// What a column may hold, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least value.
    pub low: i64,
    /// The greatest value.
    pub high: i64,
}

impl Range {
    /// Any number.
    pub const ALL: Range = Range { low: i64::MIN, high: i64::MAX };

    /// What both allow.
    pub fn and(self, other: Range) -> Range {
        Range { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    /// True when it allows this number.
    pub fn allows(self, number: i64) -> bool {
        (self.low..=self.high).contains(&number)
    }
}

/// The columns of a CHECK constraint with their ranges, when its definition (as
/// `pg_get_constraintdef` prints it) is nothing but comparisons of a column with a whole number,
/// joined by AND. That the columns are of whole-number types, and the operators PostgreSQL's own, is
/// for the caller to know.
pub fn ranges(definition: &str) -> Option<Vec<(String, Range)>> {
    let text = definition.strip_prefix("CHECK ")?;
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, found: Vec::new() };
    parser.all_of()?;
    // What follows (NOT VALID, NO INHERIT) is not understood.
    (parser.at == tokens.len()).then_some(parser.found)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    /// `<`, `<=`, `>`, `>=`, `=`.
    Compare(&'static str),
    /// A word that is not quoted: a name, a keyword, the name of a type.
    Word(String),
    /// A name in double quotes.
    Name(String),
    /// A number, or a literal in single quotes that holds one.
    Number(i64),
    /// `::`
    Cast,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            ' ' => {
                rest = &rest[1..];
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ':' => (rest.starts_with("::").then_some(Token::Cast)?, 2),
            '<' | '>' | '=' => {
                let end = rest.find(|c: char| !"<>=!~@#%^&|`?+-*/".contains(c))?;
                let known = ["<", "<=", ">", ">=", "="];
                (Token::Compare(known.into_iter().find(|known| *known == &rest[..end])?), end)
            }
            '"' | '\'' => {
                let end = closing(&rest[1..], first)? + 1;
                let inner = rest[1..end].replace(&format!("{first}{first}"), &first.to_string());
                let token = match first {
                    '"' => Token::Name(inner),
                    _ => Token::Number(inner.parse().ok()?),
                };
                (token, end + 1)
            }
            '-' | '0'..='9' => {
                let digits = rest[1..].find(|c: char| !c.is_ascii_digit());
                let end = digits.map_or(rest.len(), |digits| digits + 1);
                (Token::Number(rest[..end].parse().ok()?), end)
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
                let end = end.unwrap_or(rest.len());
                (Token::Word(rest[..end].to_string()), end)
            }
            _ => return None,
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    Some(tokens)
}

/// Where the quote ends; a doubled one is part of the text.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at);
        }
    }
    None
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<(String, Range)>,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        self.at += 1;
        self.tokens.get(self.at - 1)
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    /// `term AND term …`
    fn all_of(&mut self) -> Option<()> {
        self.term()?;
        while self.take(&Token::Word("AND".into())) {
            self.term()?;
        }
        Some(())
    }

    /// A comparison, or terms in parentheses.
    fn term(&mut self) -> Option<()> {
        let start = self.at;
        if let Some(found) = self.comparison() {
            self.found.push(found);
            return Some(());
        }
        self.at = start;
        self.take(&Token::Open).then_some(())?;
        self.all_of()?;
        self.take(&Token::Close).then_some(())
    }

    /// `column < number` or `number < column`
    fn comparison(&mut self) -> Option<(String, Range)> {
        let start = self.at;
        if let Some(column) = self.column() {
            let operator = self.operator()?;
            return Some((column, range(operator, self.number()?)?));
        }
        self.at = start;
        let number = self.number()?;
        let mirrored = match self.operator()? {
            "<" => ">",
            "<=" => ">=",
            ">" => "<",
            ">=" => "<=",
            same => same,
        };
        Some((self.column()?, range(mirrored, number)?))
    }

    fn column(&mut self) -> Option<String> {
        match self.next()? {
            Token::Name(name) => Some(name.clone()),
            // A keyword in a name's place is no column.
            Token::Word(name) if name.to_lowercase() == *name => Some(name.clone()),
            _ => None,
        }
    }

    fn operator(&mut self) -> Option<&'static str> {
        match self.next()? {
            Token::Compare(operator) => Some(operator),
            _ => None,
        }
    }

    /// `5`, `'-5'::integer`, `(5)::bigint`
    fn number(&mut self) -> Option<i64> {
        let number = match self.take(&Token::Open) {
            true => {
                let number = self.number()?;
                self.take(&Token::Close).then_some(number)?
            }
            false => match self.next()? {
                Token::Number(number) => *number,
                _ => return None,
            },
        };
        while self.take(&Token::Cast) {
            let is_whole = matches!(self.next()?, Token::Word(name)
                if ["smallint", "integer", "bigint"].contains(&name.as_str()));
            is_whole.then_some(())?;
        }
        Some(number)
    }
}

fn range(operator: &str, number: i64) -> Option<Range> {
    Some(match operator {
        "<" => Range { high: number.checked_sub(1)?, ..Range::ALL },
        "<=" => Range { high: number, ..Range::ALL },
        ">" => Range { low: number.checked_add(1)?, ..Range::ALL },
        ">=" => Range { low: number, ..Range::ALL },
        _ => Range { low: number, high: number },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, low: i64, high: i64) -> (String, Range) {
        (name.into(), Range { low, high })
    }

    #[test]
    fn comparisons_with_whole_numbers_and_nothing_else() {
        const MAX: i64 = i64::MAX;
        let understood: [(&str, Vec<(String, Range)>); 7] = [
            ("CHECK ((stock >= 0))", vec![one("stock", 0, MAX)]),
            ("CHECK ((stock > 0))", vec![one("stock", 1, MAX)]),
            (
                "CHECK (((stock >= 0) AND (stock <= 100)))",
                vec![one("stock", 0, MAX), one("stock", i64::MIN, 100)],
            ),
            ("CHECK ((balance >= '-500'::integer))", vec![one("balance", -500, MAX)]),
            ("CHECK ((\"In \"\"Stock\"\"\" < 5))", vec![one("In \"Stock\"", i64::MIN, 4)]),
            ("CHECK ((n >= (0)::bigint))", vec![one("n", 0, MAX)]),
            ("CHECK ((3 > n))", vec![one("n", i64::MIN, 2)]),
        ];
        for (text, expected) in understood {
            assert_eq!(ranges(text), Some(expected), "{text}");
        }
        let others = [
            "CHECK ((stock <> 3))",
            "CHECK ((stock >= 0)) NOT VALID",
            "CHECK (((stock % 5) = 0))",
            "CHECK (((stock >= 5) OR (stock <= 1)))",
            "CHECK ((abs(stock) < 10))",
            "CHECK ((- stock < 10))",
            "CHECK (((stock + 1) < 5))",
            "CHECK ((reserved <= stock))",
            "CHECK (is_fine(stock))",
            "CHECK ((NOT (stock > 5)))",
            "CHECK ((stock = ANY (ARRAY[1, 3])))",
            "CHECK ((price > (0)::numeric))",
            "CHECK ((price > 0.5))",
            "CHECK ((stock OPERATOR(public.>=) 0))",
            "CHECK ((stock >=+ 0))",
            "CHECK (true)",
            "CHECK ((stock > 9223372036854775807))",
            "FOREIGN KEY (stock) REFERENCES s(id)",
        ];
        others.iter().for_each(|text| assert_eq!(ranges(text), None, "{text}"));
    }
}
