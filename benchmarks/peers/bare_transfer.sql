-- All that a transfer writes, in one statement and so in one transaction. The locks are taken in the
-- order of the accounts' ids, as the service takes them.
\set half :accounts / 2
\set pair random(0, :half - 1)
WITH side AS MATERIALIZED (
    SELECT (:prefix || lpad(to_hex(2 * :pair), 12, '0'))::uuid AS source_id,
        (:prefix || lpad(to_hex(2 * :pair + 1), 12, '0'))::uuid AS destination_id,
        uuidv7() AS transfer_id, uuidv7()::text AS key, sha256('bench') AS fingerprint
), claimed AS (
    INSERT INTO idempotency_keys (tenant_id, key, operation, fingerprint)
    SELECT :tenant, key, 'transfer.create', fingerprint FROM side
), recorded AS (
    INSERT INTO transfers (id, tenant_id, idempotency_key, fingerprint, type, state, stage,
        source_account_id, destination_account_id, amount_minor, currency, effective_at,
        completed_at)
    SELECT transfer_id, :tenant, key, fingerprint, 'INTERNAL', 'SUCCESS', 'COMPLETED',
        source_id, destination_id, 1, :currency, now(), now()
    FROM side
), logged AS (
    INSERT INTO transfer_events (transfer_id, sequence, tenant_id, step, stage)
    SELECT transfer_id, sequence, :tenant, step, stage
    FROM side, (VALUES (1, 'reserve', 'RESERVED'), (2, 'post', 'POSTED'),
        (3, 'finalise', 'COMPLETED')) AS taken (sequence, step, stage)
), held AS (
    INSERT INTO holds (id, tenant_id, transfer_id, account_id, currency, amount_minor, status,
        closed_at)
    SELECT uuidv7(), :tenant, transfer_id, source_id, :currency, 1, 'CAPTURED', now() FROM side
), locked AS MATERIALIZED (
    SELECT account_id FROM balances, side
    WHERE account_id IN (source_id, destination_id)
    ORDER BY account_id
    FOR NO KEY UPDATE OF balances
), moved AS (
    UPDATE balances
    SET posted_minor = posted_minor + CASE account_id WHEN source_id THEN -1 ELSE 1 END,
        last_sequence = last_sequence + 1
    FROM side
    WHERE account_id IN (SELECT account_id FROM locked)
    RETURNING account_id, posted_minor, last_sequence
)
INSERT INTO ledger_entries (id, tenant_id, transfer_id, account_id, sequence, direction,
    amount_minor, currency, balance_after_minor, effective_at)
SELECT uuidv7(), :tenant, transfer_id, account_id, last_sequence,
    CASE account_id WHEN source_id THEN 'DEBIT' ELSE 'CREDIT' END, 1, :currency, posted_minor, now()
FROM moved, side;
