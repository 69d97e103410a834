//! "Nothing changed": the state of both sides, before and after a refused write.

use super::resp::Reply;
use super::stack::Stack;

impl Stack {
    /// A digest of everything that Redis holds and of every row in the database.
    #[track_caller]
    pub fn state(&self) -> String {
        let tables = self.database.rows(
            "select format('%I.%I', schemaname, tablename) as name from pg_tables
             where schemaname not in ('pg_catalog', 'information_schema') order by 1",
        );
        let rows = tables.iter().map(|table| {
            let name = &table["name"];
            // xmin: a row that was rewritten with the same values has changed, too.
            let row = "(xmin::text || t::text)";
            let all =
                format!("select md5(string_agg({row}, ' ' order by {row})) as md5 from {name} t");
            format!("{name} {:?}", self.row(&all).get("md5"))
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        format!("Redis {}, {rows}", self.run("DEBUG DIGEST").text())
    }

    /// The command is refused with an error that starts so, and changes nothing on either side.
    /// Returns the whole error.
    #[track_caller]
    pub fn assert_refused(&self, args: &[impl AsRef<[u8]>], prefix: &str) -> String {
        let before = self.state();
        let shown = args.iter().map(|arg| arg.as_ref().escape_ascii().to_string());
        let shown: String = shown.collect::<Vec<_>>().join(" ").chars().take(200).collect();
        let reply = self.cmd(args);
        let Reply::Error(text) = &reply else {
            panic!("{shown}: expected `{prefix}…`, got {reply:?}");
        };
        assert!(text.starts_with(prefix), "{shown}: expected `{prefix}…`, got `{text}`");
        assert_eq!(
            self.state(),
            before,
            "{shown}: it answered `{text}`, and yet something changed"
        );
        // A reply that spills over its line would be read as this one's.
        assert_eq!(self.run("PING"), Reply::Status("PONG".into()), "{shown}: out of step");
        text.clone()
    }

    /// The same, as one types it.
    #[track_caller]
    pub fn assert_line_refused(&self, line: &str, prefix: &str) -> String {
        self.assert_refused(&line.split_whitespace().collect::<Vec<_>>(), prefix)
    }
}
