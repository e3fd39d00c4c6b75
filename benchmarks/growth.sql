-- Fills the tables with finished transfers, as if the service had made them one after the other. The
-- caller has switched triggers off, and proves the ledger afterwards. Takes :number and :tenant.
CREATE TEMPORARY TABLE grown ON COMMIT DROP AS
SELECT n, uuidv7(moment.age) AS transfer_id, 'grown-' || uuidv7(moment.age) AS key,
    now() + moment.age AS at, source.account_id AS source_id,
    destination.account_id AS destination_id, n / pair.count AS earlier,
    source.last_sequence AS source_sequence, source.posted_minor AS source_minor,
    destination.last_sequence AS destination_sequence,
    destination.posted_minor AS destination_minor
FROM generate_series(0, :number - 1) AS series (n)
CROSS JOIN (SELECT :accounts / 2 AS count) AS pair
CROSS JOIN LATERAL (SELECT (n - :number) * interval '10 milliseconds' AS age) AS moment
JOIN balances AS source ON source.account_id
    = (:prefix || lpad(to_hex(2 * (n % pair.count)), 12, '0'))::uuid
JOIN balances AS destination ON destination.account_id
    = (:prefix || lpad(to_hex(2 * (n % pair.count) + 1), 12, '0'))::uuid;

INSERT INTO idempotency_keys (tenant_id, key, operation, fingerprint, created_at)
SELECT :tenant, key, 'transfer.create', sha256(key::bytea), at FROM grown ORDER BY n;

INSERT INTO transfers (id, tenant_id, idempotency_key, fingerprint, type, state, stage,
    source_account_id, destination_account_id, amount_minor, currency, effective_at, created_at,
    updated_at, completed_at)
SELECT transfer_id, :tenant, key, sha256(key::bytea), 'INTERNAL', 'SUCCESS', 'COMPLETED', source_id,
    destination_id, 1, :currency, at, at, at, at
FROM grown ORDER BY n;

INSERT INTO transfer_events (transfer_id, sequence, tenant_id, step, stage, occurred_at)
SELECT transfer_id, sequence, :tenant, step, stage, at
FROM grown, (VALUES (1, 'reserve', 'RESERVED'), (2, 'post', 'POSTED'),
    (3, 'finalise', 'COMPLETED')) AS taken (sequence, step, stage)
ORDER BY n, sequence;

INSERT INTO holds (id, tenant_id, transfer_id, account_id, currency, amount_minor, status,
    created_at, closed_at)
SELECT uuidv7(at - now()), :tenant, transfer_id, source_id, :currency, 1, 'CAPTURED', at, at
FROM grown ORDER BY n;

INSERT INTO ledger_entries (id, tenant_id, transfer_id, account_id, sequence, direction,
    amount_minor, currency, balance_after_minor, effective_at, created_at)
SELECT uuidv7(at - now()), :tenant, transfer_id, side.account_id, side.sequence, side.direction, 1,
    :currency, side.minor, at, at
FROM grown CROSS JOIN LATERAL (VALUES
    (source_id, source_sequence + earlier + 1, 'DEBIT', source_minor - earlier - 1),
    (destination_id, destination_sequence + earlier + 1, 'CREDIT', destination_minor + earlier + 1)
) AS side (account_id, sequence, direction, minor)
ORDER BY n, side.direction;

UPDATE balances
SET posted_minor = last.balance_after_minor, last_sequence = last.sequence
FROM (
    SELECT DISTINCT ON (account_id) account_id, sequence, balance_after_minor
    FROM ledger_entries ORDER BY account_id, sequence DESC
) AS last
WHERE balances.account_id = last.account_id AND balances.last_sequence <> last.sequence;
