-- SPDX-License-Identifier: Apache-2.0
-- What a node may do. Run by doorbuster_owner after every `doorbuster migrate`; may be repeated:
--
--   psql service=shop -v ON_ERROR_STOP=1 < deploy/grants.sql
--
-- A node ends connections of its own that were cut off (pg_terminate_backend) and listens to the others (LISTEN);
-- both are free to every role.
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM doorbuster;
GRANT SELECT ON doorbuster_schema TO doorbuster;
GRANT SELECT, INSERT, UPDATE, DELETE ON products TO doorbuster;
GRANT SELECT, INSERT, DELETE ON purchase_log TO doorbuster;   -- sold is sold: no UPDATE
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO doorbuster;
GRANT UPDATE (created_at) ON idempotency_keys TO doorbuster;  -- never done; SELECT ... FOR UPDATE asks for it
GRANT SELECT, UPDATE ON sequences TO doorbuster;
GRANT SELECT, INSERT, UPDATE, DELETE ON work TO doorbuster;
COMMIT;
