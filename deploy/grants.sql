-- SPDX-License-Identifier: Apache-2.0
-- What a node may do, and how tables are kept tidy. Run by doorbuster_owner after every `doorbuster migrate`; may be
-- repeated:
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
GRANT SELECT, INSERT ON orders TO doorbuster;                 -- what was ordered stays; what became of it changes
GRANT UPDATE (status, attempts, updated_at, paid_at) ON orders TO doorbuster;
GRANT SELECT, INSERT ON payments TO doorbuster;               -- paid is paid: no UPDATE
GRANT SELECT, INSERT ON notifications TO doorbuster;
GRANT UPDATE (delivered_at) ON notifications TO doorbuster;
GRANT SELECT, INSERT ON accounts TO doorbuster;
GRANT SELECT, INSERT ON wallets TO doorbuster;                -- whose it is stays; what it holds changes
GRANT UPDATE (balance_minor, last_transfer_id, updated_at) ON wallets TO doorbuster;
GRANT SELECT, INSERT ON transfers TO doorbuster;              -- spent is spent: no UPDATE
GRANT SELECT, INSERT ON intake_orders TO doorbuster;
GRANT UPDATE (cancelled_at) ON intake_orders TO doorbuster;
GRANT SELECT, INSERT ON intake_deliveries TO doorbuster;
GRANT SELECT, UPDATE ON intake_state TO doorbuster;
GRANT SELECT, INSERT, UPDATE, DELETE ON machines TO doorbuster;
GRANT SELECT, INSERT ON leases TO doorbuster;                 -- what was assigned to whom stays
GRANT SELECT, INSERT ON tickets TO doorbuster;
GRANT UPDATE (state, expires_at, end_lease_id, machine_id, ended_at, version) ON tickets TO doorbuster;
GRANT SELECT, UPDATE ON pool TO doorbuster;
GRANT SELECT ON secrets TO doorbuster;                        -- the key that signs tokens

-- Answers are deleted a day after they were stored, old ones and new ones at about the same rate: clear away dead rows
-- when a fiftieth of the table is dead rather than a fifth. Purchases are only added; their pages are marked early as
-- known to all, so that look-ups need not check.
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE purchase_log SET (autovacuum_vacuum_insert_scale_factor = 0.05);
-- The queue: its rows are rewritten with every claim and deleted when they are done.
ALTER TABLE work SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- The line: its rows are rewritten while they wait, and stay when they are done.
ALTER TABLE tickets SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
COMMIT;
