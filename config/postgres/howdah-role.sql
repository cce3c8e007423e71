-- Howdah's own role. Run it as a superuser (or a role that may create roles), once per server:
--
--   psql -v password=... -f howdah-role.sql "postgresql://postgres@db/postgres"
--
-- or with the password in the environment variable HOWDAH_ROLE_PASSWORD. Without a password
-- the role is made without one, for pg_hba.conf entries such as `peer` or `cert`.
-- It may be run again: an existing role is kept, and gets the password if one is given.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?password}
\else
    \getenv password HOWDAH_ROLE_PASSWORD
\endif

SELECT 'CREATE ROLE howdah LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'howdah') \gexec

\if :{?password}
ALTER ROLE howdah PASSWORD :'password';
\endif

-- It may read which other sessions are active: no data of any table.
GRANT pg_read_all_stats TO howdah;
