-- SPDX-License-Identifier: Apache-2.0
-- The database of a shop and its two roles. Run once by a superuser of PostgreSQL, see docs/deploy.md:
--
--   psql -v ON_ERROR_STOP=1 -v owner_password=... -v node_password=... < deploy/database.sql
--
-- doorbuster_owner has the tables: doorbuster migrate and verify, pg_dump. doorbuster is what nodes are: it may do
-- what deploy/grants.sql says, and no more.
CREATE ROLE doorbuster_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE doorbuster LOGIN PASSWORD :'node_password';
CREATE DATABASE shop OWNER doorbuster_owner ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO doorbuster;
GRANT pg_read_all_stats TO doorbuster_owner; -- sees what nodes wait for (pg_stat_activity)
