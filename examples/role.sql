-- A role for the module: it may read and write the mapped tables, and nothing else.
--
--   psql "$ADMIN_URL" -v role=writethrough -v tables=users,shop.order_lines -f examples/role.sql
--
-- role         the role's name; it is made when it is missing
-- tables       table or schema.table, separated by commas, as PostgreSQL stores the names
-- password     optional, and then in the server's log if that logs DDL: better leave it out, and type
--              \password writethrough in psql afterwards, which sends the hash only
-- own          optional: 1 gives the role a schema of its own, writethrough, for WT.ONCE and the journal
-- connections  optional, 8: pool_size + 2 for each server, and some while pool-size changes
--
-- Run it again with other tables to add them. It takes no right away that the role has already, nor
-- any that PUBLIC has: before PostgreSQL 15 anybody may make tables in the schema public, until
-- REVOKE CREATE ON SCHEMA public FROM PUBLIC.
\set ON_ERROR_STOP on
\set QUIET on
\if :{?connections} \else \set connections 8 \endif
\if :{?role} \else \warn 'role.sql: give -v role=<name>' \quit \endif
\if :{?tables} \else \warn 'role.sql: give -v tables=<table>,<table>' \quit \endif

BEGIN;
-- Whatever the server's default is: SCRAM can be bound to the TLS connection.
SET LOCAL password_encryption = 'scram-sha-256';

SELECT format('CREATE ROLE %I', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
  CONNECTION LIMIT :connections;
\if :{?password}
ALTER ROLE :"role" PASSWORD :'password';
\endif

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role') \gexec

CREATE TEMPORARY TABLE mapped ON COMMIT DROP AS
SELECT to_regclass(
         CASE WHEN strpos(name, '.') > 0
              THEN format('%I.%I', split_part(name, '.', 1), substr(name, strpos(name, '.') + 1))
              ELSE quote_ident(name) END) AS oid, name
FROM (SELECT trim(unnest(string_to_array(:'tables', ','))) AS name) AS given;

-- A name that is no table: say which, and change nothing.
SELECT format('DO $do$ BEGIN RAISE EXCEPTION %L; END $do$', 'no table ' || quote_literal(name))
FROM mapped WHERE oid IS NULL LIMIT 1 \gexec

SELECT DISTINCT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, :'role')
FROM mapped JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace \gexec

-- DELETE is for DEL and UNLINK of staged keys; leave it out where no row is to be deleted.
SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', oid::regclass, :'role')
FROM mapped \gexec

-- The sequences behind their serial columns; an identity column needs none.
SELECT format('GRANT USAGE ON SEQUENCE %s TO %I', d.objid::regclass, :'role')
FROM mapped m JOIN pg_depend d ON d.refobjid = m.oid AND d.deptype = 'a'
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' AND d.classid = 'pg_class'::regclass \gexec
\if :{?own}
CREATE SCHEMA IF NOT EXISTS writethrough AUTHORIZATION :"role";
\endif
COMMIT;

\echo :role may read and write :tables
