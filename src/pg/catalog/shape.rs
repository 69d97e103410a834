//! What the catalog says of a mapping's [`Shape`].
//!
//! What a table leads to (partitions, the tables of a view, the types in a type) is followed once,
//! when the catalog is read. From then on one statement tells whether anything of it has changed, and
//! what leads elsewhere now is such a change.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use postgres::{Client, Row};

use crate::model::mapping::{Mapping, Mappings};
use crate::model::shape::{Reach, Shape};
use crate::pg::connect::session::Session;
use crate::pg::connect::settings::SessionSettings;

/// What relations and types lead to: relations, types and functions.
const LEADS_TO: &str = "
    WITH used AS (
        SELECT d.refclassid, d.refobjid, d.refobjsubid
        FROM pg_rewrite r JOIN pg_depend d
             ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        WHERE r.ev_class = ANY($1) AND r.rulename = '_RETURN')
    SELECT
        ARRAY(SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY($1)
              UNION SELECT refobjid FROM used WHERE refclassid = 'pg_class'::regclass),
        ARRAY(SELECT atttypid FROM used JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
                     WHERE refclassid = 'pg_class'::regclass
              UNION SELECT unnest(ARRAY[typelem, typbasetype]) FROM pg_type WHERE oid = ANY($2)
              UNION SELECT rngsubtype FROM pg_range r
                    WHERE rngtypid = ANY($2) OR (to_jsonb(r) ->> 'rngmultitypid')::oid = ANY($2)
              UNION SELECT atttypid FROM pg_type t JOIN pg_attribute ON attrelid = typrelid
                    WHERE t.oid = ANY($2) AND typtype = 'c' AND attnum > 0 AND NOT attisdropped),
        ARRAY(SELECT refobjid FROM used WHERE refclassid = 'pg_proc'::regclass)";

const COLUMN_TYPES: &str = "
    SELECT c.oid, ARRAY(SELECT atttypid FROM pg_attribute
                        WHERE attrelid = c.oid AND attname = ANY($2) AND attnum > 0)
    FROM pg_class c WHERE c.oid = to_regclass($1)";

/// All that can change a text, or which rows there are, without a write of a row. A table that is
/// rewritten (`ALTER … TYPE … USING`, TRUNCATE) has another file. To read a `varchar` as a `text`,
/// or with another length, changes nothing that isn't rewritten.
const FACTS: &str = "
    SELECT md5(concat_ws(E'\\n', to_regclass($1)::oid,
        (SELECT string_agg(concat_ws(':', oid, relkind, relfilenode, relrowsecurity,
                    relforcerowsecurity, row_security_active(oid),
                    CASE relkind WHEN 'v' THEN concat(relowner, reloptions) END),
                ',' ORDER BY oid)
         FROM pg_class WHERE oid = ANY($3)),
        (SELECT string_agg(concat_ws(':', inhparent, inhrelid, to_jsonb(i) -> 'inhdetachpending'),
                ',' ORDER BY inhparent, inhrelid)
         FROM pg_inherits i WHERE inhparent = ANY($3)),
        (SELECT string_agg(concat_ws(':', oid, polcmd, polpermissive, polroles, polqual),
                ',' ORDER BY oid)
         FROM pg_policy WHERE polrelid = ANY($3)),
        (SELECT string_agg(concat_ws(':', ftrelid, ftoptions, srvoptions), ',' ORDER BY ftrelid)
         FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver
         WHERE ftrelid = ANY($3)),
        (SELECT string_agg(concat_ws(':', oid, ev_action), ',' ORDER BY oid)
         FROM pg_rewrite WHERE ev_class = ANY($3) AND rulename = '_RETURN'),
        (SELECT string_agg(concat_ws(':', oid, prosrc, probin, to_jsonb(p) -> 'prosqlbody'),
                ',' ORDER BY oid)
         FROM pg_proc p WHERE oid = ANY($5)),
        (SELECT string_agg(concat_ws(':', attnum,
                    CASE atttypid WHEN 'varchar'::regtype THEN 'text'::regtype::oid
                                  ELSE atttypid END,
                    CASE attgenerated WHEN 'v' THEN (SELECT adbin FROM pg_attrdef
                         WHERE adrelid = attrelid AND adnum = attnum) END),
                ',' ORDER BY array_position($2, attname::text))
         FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = ANY($2) AND attnum > 0),
        (SELECT string_agg(concat_ws(':', attrelid, attnum, atttypid), ',' ORDER BY attrelid, attnum)
         FROM pg_attribute
         WHERE attrelid = ANY(ARRAY(SELECT typrelid FROM pg_type
                                    WHERE oid = ANY($4) AND typtype = 'c'))
           AND attnum > 0 AND NOT attisdropped),
        (SELECT string_agg(concat_ws(':', castsource, castmethod, castfunc, prosrc),
                ',' ORDER BY castsource)
         FROM pg_cast c LEFT JOIN pg_proc p ON p.oid = castfunc
         WHERE castsource = ANY($4) AND casttarget = 'text'::regtype
           -- No cast of PostgreSQL's own.
           AND c.oid >= 16384))),
        ARRAY(SELECT oid FROM pg_enum WHERE enumtypid = ANY($4) ORDER BY oid),
        ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = ANY($4) ORDER BY oid),
        to_regclass($1) IS NULL";

/// The shape of a mapping, now.
pub fn read(client: &mut Client, mapping: &Mapping) -> Result<Shape, postgres::Error> {
    let columns = columns(mapping);
    let mut reach = Reach::default();
    if let Some(row) = client.query_opt(COLUMN_TYPES, &[&mapping.relation, &columns])? {
        reach = Reach { relations: vec![row.get(0)], types: row.get(1), functions: Vec::new() };
        loop {
            let row = client.query_one(LEADS_TO, &[&reach.relations, &reach.types])?;
            let mut is_new = add(&mut reach.relations, row.get(0));
            is_new |= add(&mut reach.types, row.get(1));
            add(&mut reach.functions, row.get(2));
            if !is_new {
                break;
            }
        }
    }
    let Reach { relations, types, functions } = &reach;
    let row =
        client.query_one(FACTS, &[&mapping.relation, &columns, relations, types, functions])?;
    Ok(Shape { facts: facts(mapping, &row), labels: labels(&row), reach })
}

/// Whether the mapping's shape is what it was. Of a table that is missing nothing can be read.
pub fn is_as_it_was(session: &mut Session, mapping: &Mapping) -> Result<bool, postgres::Error> {
    let statement = session.prepare_text(FACTS)?;
    let Reach { relations, types, functions } = &mapping.shape.reach;
    let params: [&(dyn postgres::types::ToSql + Sync); 5] =
        [&mapping.relation, &columns(mapping), relations, types, functions];
    let row = session.client.query_one(&statement, &params)?;
    Ok(row.get(3) || mapping.shape.is(&facts(mapping, &row), &labels(&row)))
}

/// What gives all cached values their text: a data set that was written by another one is not to be
/// trusted, whatever the journal says.
pub fn of_all(mappings: &Mappings, settings: &SessionSettings) -> String {
    let mut all: Vec<&Mapping> = mappings.iter().map(|mapping| &**mapping).collect();
    all.sort_by_key(|mapping| &mapping.name);
    let mut hasher = DefaultHasher::new();
    for mapping in all {
        (&mapping.name, &mapping.shape.facts, &mapping.shape.labels).hash(&mut hasher);
    }
    settings.text().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn columns(mapping: &Mapping) -> Vec<&str> {
    mapping.columns.iter().map(|column| column.info.name.as_str()).collect()
}

/// Adds what is not there. True when something was.
fn add(known: &mut Vec<u32>, found: Vec<u32>) -> bool {
    let before = known.len();
    known.extend(found.into_iter().filter(|oid| *oid != 0));
    known.sort_unstable();
    known.dedup();
    known.len() > before
}

/// What the document says of the fields, and the catalog of the rest.
fn facts(mapping: &Mapping, row: &Row) -> String {
    let mut hasher = DefaultHasher::new();
    (mapping.key_len, mapping.unmapped as u8).hash(&mut hasher);
    for column in &mapping.columns {
        // These are read in a way of their own.
        let is_plain = !column.info.bytea && column.info.cast != "inet";
        (&column.field, is_plain, &column.path).hash(&mut hasher);
    }
    format!("{:016x}{}", hasher.finish(), row.get::<_, String>(0))
}

fn labels(row: &Row) -> std::collections::BTreeMap<u32, String> {
    let (numbers, labels): (Vec<u32>, Vec<String>) = (row.get(1), row.get(2));
    numbers.into_iter().zip(labels).collect()
}
