//! What is asked of PostgreSQL's catalog. `$1` is the table's name, quoted, or its oid.

/// The table, and its partitions at every level. Without pg_partition_tree(), which waits for whoever
/// has locked one of them.
macro_rules! tree {
    ($table:literal) => {
        concat!(
            "tree AS (
        SELECT ",
            $table,
            " AS oid
        UNION SELECT i.inhrelid FROM tree t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'p'
        JOIN pg_inherits i ON i.inhparent = t.oid)"
        )
    };
}
pub(crate) use tree;

/// What kind of relation it is, and what is special about it. Triggers whose function is in the schema `writethrough` note changes in the journal, and make
/// nothing of a write.
pub const RELATION: &str = concat!(
    "
    WITH RECURSIVE ",
    tree!("to_regclass($1)::oid"),
    ", triggers AS (
        SELECT g.tgtype FROM pg_trigger g
        WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
          AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
                          WHERE p.oid = g.tgfoid AND s.nspname = 'writethrough')
          AND g.tgrelid IN (TABLE tree))
    SELECT c.oid, n.nspname, c.relname, c.relkind::text,
           c.relkind IN ('v', 'f') OR c.relrowsecurity
           OR EXISTS (SELECT FROM pg_class p WHERE p.oid IN (TABLE tree) AND p.relkind = 'f')
           OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN')
           OR EXISTS (SELECT FROM triggers),
           -- Neither BEFORE (2): a trigger that comes after the row was returned.
           c.relkind IN ('v', 'f') OR EXISTS (SELECT FROM triggers WHERE tgtype & 2 = 0),
           EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AND c.relkind <> 'p',
           c.relkind = 'r' AND NOT c.relispartition AND c.relnatts <= 200
           AND (SELECT amname FROM pg_am WHERE oid = c.relam) = 'heap'
           -- An UPDATE of a published table needs to say which row it is.
           AND (c.relreplident = 'f' OR c.relreplident = 'd' AND EXISTS (
                    SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary AND indimmediate))
           AND NOT EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = c.oid
                           AND coalesce(to_jsonb(p)->>'prqual', to_jsonb(p)->>'prattrs') IS NOT NULL),
           EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid IN (TABLE tree)
                   AND (k.contype = 'f' AND k.confrelid IN (TABLE tree)
                        OR k.contype IN ('u', 'p', 'x') AND k.condeferrable)),
           EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid IN (TABLE tree)
                   AND k.conrelid <> c.oid AND k.conislocal AND k.contype IN ('c', 'n'))
           OR EXISTS (SELECT FROM pg_attribute a JOIN pg_attribute b USING (attname)
                      WHERE a.attrelid IN (TABLE tree) AND b.attrelid = c.oid
                        AND a.attnum > 0 AND a.attnotnull AND NOT b.attnotnull),
           pg_encoding_to_char((SELECT encoding FROM pg_database
                                WHERE datname = current_database())) = 'UTF8'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass($1)"
);

/// An expression of the table calls a function that is neither PostgreSQL's own nor in C: it may look
/// at other rows, or at anything.
pub const CALLS_FUNCTIONS: &str = concat!(
    "
    WITH RECURSIVE ",
    tree!("$1::oid"),
    ", expressions AS (
        SELECT 'pg_constraint'::regclass AS class, oid FROM pg_constraint
        WHERE conrelid IN (TABLE tree)
           OR contypid <> 0 AND EXISTS (
                SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                WHERE a.attrelid IN (TABLE tree) AND a.attnum > 0 AND t.oid >= 16384)
        UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid IN (TABLE tree)
        UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index
        WHERE indrelid IN (TABLE tree)
        UNION ALL SELECT 'pg_class'::regclass, t.* FROM (TABLE tree) t)
    SELECT EXISTS (
        SELECT FROM expressions e
        JOIN pg_depend d ON d.classid = e.class AND d.objid = e.oid
        LEFT JOIN pg_operator o
          ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
        JOIN pg_proc p ON p.oid = CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid
                                       ELSE o.oprcode END
        JOIN pg_language l ON l.oid = p.prolang
        WHERE l.lanname NOT IN ('internal', 'c'))"
);

/// Its columns.
pub const COLUMNS: &str = "
    SELECT a.attnum, a.attname, format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod),
           CASE WHEN t.typtype = 'd' THEN 0::oid ELSE a.atttypid END, a.atttypmod,
           b.base = 'bytea'::regtype,
           a.attnotnull OR t.typnotnull,
           a.attidentity = 'a', a.attgenerated <> '', format_type(b.base, -1), t.typcategory = 'N',
           t.typtype = 'd',
           coalesce((SELECT collisdeterministic FROM pg_collation WHERE oid = a.attcollation), true),
           a.attstorage IN ('x', 'e', 'm'),
           a.attidentity <> '' OR a.attgenerated <> '' OR t.typdefault IS NOT NULL,
           d.adbin::text LIKE '{CONST %', d.adbin::text LIKE '%:constisnull true%',
           -- Without the table, which somebody may have locked: a default names no column.
           CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, 0) END,
           -- It needs nothing but the column: no sequence, no function of somebody's own.
           NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_attrdef'::regclass
                       AND objid = d.oid AND refobjid <> a.attrelid)
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    CROSS JOIN LATERAL (
        WITH RECURSIVE under AS (
            SELECT t.oid, t.typtype, t.typbasetype
            UNION ALL
            SELECT n.oid, n.typtype, n.typbasetype FROM under u
            JOIN pg_type n ON n.oid = u.typbasetype WHERE u.typtype = 'd')
        SELECT oid AS base FROM under WHERE typtype <> 'd') b
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Its indexes.
pub const INDEXES: &str = "
    SELECT i.indisprimary, (i.indkey::int2[])[0:i.indnkeyatts - 1], i.indkey::int2[],
           i.indpred IS NULL AND i.indexprs IS NULL,
           i.indisunique OR i.indisexclusion,
           i.indisunique AND i.indimmediate AND i.indisvalid,
           o.are_own AND NOT EXISTS (
               SELECT FROM pg_collation WHERE oid = ANY(i.indcollation::oid[])
               AND NOT collisdeterministic),
           o.are_own AND m.amname IN ('btree', 'hash', 'brin')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    CROSS JOIN LATERAL (SELECT bool_and(class < 16384) AS are_own
                        FROM unnest(i.indclass::oid[]) AS class) o
    WHERE i.indrelid = $1";

/// Its constraints. `conkey` is empty where a CHECK looks at no column, and holds 0 where it looks at the whole row. A
/// function that isn't immutable, or not PostgreSQL's own, may look at anything.
pub const CONSTRAINTS: &str = "
    SELECT contype = 'c', conkey, CASE contype WHEN 'c' THEN pg_get_constraintdef(oid) ELSE '' END,
           convalidated,
           contype <> 'c' OR NOT EXISTS (
               SELECT FROM regexp_matches(conbin::text, ':(?:op)?funcid (\\d+)', 'g') AS found
               LEFT JOIN pg_proc p ON p.oid = found[1]::oid
               WHERE found[1] <> '0' AND (p.oid IS NULL OR p.oid >= 16384 OR p.provolatile <> 'i'))
           AND NOT EXISTS (
               SELECT FROM regexp_matches(conbin::text, ':opno (\\d+)', 'g') AS found
               WHERE found[1]::oid >= 16384)
    FROM pg_constraint WHERE conrelid = $1 AND contype IN ('c', 'f', 'x')";

/// Changes when something changes that a [`crate::model::table::Table`] holds.
pub const FINGERPRINT: &str = concat!(
    "
    WITH RECURSIVE ",
    tree!("to_regclass($1)::oid"),
    "
    SELECT md5(concat_ws(',', c.oid, c.relkind, c.relrowsecurity, c.relispartition, c.relreplident,
        (SELECT string_agg(concat_ws(':', attrelid, attnum, attname, atttypid, atttypmod, attnotnull,
                                     attidentity, attgenerated, attcollation, attstorage), ','
                           ORDER BY attrelid, attnum)
         FROM pg_attribute WHERE attrelid IN (TABLE tree) AND attnum > 0 AND NOT attisdropped),
        (SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_attrdef
         WHERE adrelid IN (TABLE tree)),
        (SELECT string_agg(concat_ws(':', oid, convalidated, condeferrable, condeferred), ','
                           ORDER BY oid)
         FROM pg_constraint
         WHERE conrelid IN (TABLE tree)
            OR contypid IN (SELECT atttypid FROM pg_attribute WHERE attrelid = c.oid)),
        (SELECT string_agg(concat_ws(':', indexrelid, indisvalid, indimmediate), ','
                           ORDER BY indexrelid)
         FROM pg_index WHERE indrelid IN (TABLE tree)),
        (SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_rewrite WHERE ev_class = c.oid),
        (SELECT string_agg(inhrelid::text, ',' ORDER BY inhrelid) FROM pg_inherits
         WHERE inhparent IN (TABLE tree)),
        (SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_publication_rel
         WHERE prrelid = c.oid),
        (SELECT string_agg(concat(oid, tgenabled), ',' ORDER BY oid)
         FROM pg_trigger WHERE tgrelid IN (TABLE tree))))
    FROM pg_class c WHERE c.oid = to_regclass($1)"
);
