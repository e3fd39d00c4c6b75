"""Tenants, who acts for them, what they did, and the keys that they used."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from domain.audit import ActorKind
from domain.limits import REQUESTS_PER_SECOND_MAXIMUM
from persistence.tables.columns import (
    created_at_column,
    id_column,
    metadata,
    one_of,
    tenant_id_column,
    time_column,
)

tenants: Final = Table(
    "tenants",
    metadata,
    id_column(),
    Column("name", Text, nullable=False),
    created_at_column(),
    PrimaryKeyConstraint("id", name="tenants_pkey"),
    UniqueConstraint("name", name="tenants_name"),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    id_column(),
    tenant_id_column(),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False, comment="first characters, to recognise the key by"),
    # Null for a subject of an issuer: a row by which it is recognised, and can be revoked.
    Column("secret_hash", LargeBinary, nullable=True, comment="SHA-256 of the whole key"),
    Column("scopes", ARRAY(Text), nullable=False),
    created_at_column(),
    time_column("revoked_at", nullable=True),
    time_column("expires_at", nullable=True),
    Column(
        "previous_secret_hash",
        LargeBinary,
        nullable=True,
        comment="of the secret before the last rotation",
    ),
    time_column("previous_expires_at", nullable=True),
    time_column("rotated_at", nullable=True),
    Column("requests_per_second", Integer, nullable=True, comment="null: the default"),
    Column("requests_burst", Integer, nullable=True, comment="null: the default"),
    Column("issuer", Text, nullable=True, comment="of a subject: who vouches for it"),
    Column("subject", Text, nullable=True, comment="as its issuer names it"),
    PrimaryKeyConstraint("id", name="api_keys_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="api_keys_tenant"),
    UniqueConstraint("secret_hash", name="api_keys_secret_hash"),
    UniqueConstraint("previous_secret_hash", name="api_keys_previous_secret_hash"),
    UniqueConstraint("tenant_id", "issuer", "subject", name="api_keys_subject"),
    CheckConstraint("octet_length(secret_hash) = 32", name="api_keys_secret_hash_length"),
    CheckConstraint(
        "(secret_hash IS NULL) = (subject IS NOT NULL) AND (issuer IS NULL) = (subject IS NULL)",
        name="api_keys_identity",
    ),
    CheckConstraint(
        "(previous_secret_hash IS NULL) = (previous_expires_at IS NULL)"
        " AND (previous_secret_hash IS NULL OR secret_hash IS NOT NULL)"
        " AND octet_length(previous_secret_hash) = 32",
        name="api_keys_rotation",
    ),
    CheckConstraint(
        "(requests_per_second IS NULL) = (requests_burst IS NULL)"
        f" AND requests_per_second BETWEEN 1 AND {REQUESTS_PER_SECOND_MAXIMUM}"
        f" AND requests_burst BETWEEN 1 AND {REQUESTS_PER_SECOND_MAXIMUM}",
        name="api_keys_rate",
    ),
    Index("api_keys_of_tenant", "tenant_id", "id"),
)

console_sessions: Final = Table(
    "console_sessions",
    metadata,
    Column("token_hash", LargeBinary, nullable=False, comment="SHA-256 of the cookie's token"),
    tenant_id_column(),
    Column("api_key_id", Uuid, nullable=False),
    Column("viewed_tenant_id", Uuid, nullable=False),
    Column("scopes", ARRAY(Text), nullable=True, comment="of a token; null: those of the key"),
    created_at_column(),
    Column("last_used_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("token_hash", name="console_sessions_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="console_sessions_tenant"),
    ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="console_sessions_api_key"),
    ForeignKeyConstraint(
        ["viewed_tenant_id"], ["tenants.id"], name="console_sessions_viewed_tenant"
    ),
    CheckConstraint("octet_length(token_hash) = 32", name="console_sessions_token_hash_length"),
)

audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("tenant_id", Uuid, nullable=True, comment="null: of no tenant"),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text, nullable=True),
    Column("actor_name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("request_id", Text, nullable=True),
    Column("source_address", Text, nullable=True),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    PrimaryKeyConstraint("id", name="audit_log_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="audit_log_tenant"),
    CheckConstraint(one_of("actor_kind", *ActorKind), name="audit_log_actor_known"),
    CheckConstraint("action ~ '^[a-z_]+[.][a-z_]+$'", name="audit_log_action_shape"),
    CheckConstraint("jsonb_typeof(details) = 'object'", name="audit_log_details_object"),
    Index("audit_log_of_tenant", "tenant_id", "id"),
    Index("audit_log_of_subject", "subject_type", "subject_id", "id"),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    tenant_id_column(),
    Column("key", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    created_at_column(),
    PrimaryKeyConstraint("tenant_id", "key", name="idempotency_keys_pkey"),
    # That the tenant is there is held by a trigger once a statement, as below for events and rows
    # of batches (``..._known``).
    CheckConstraint("octet_length(fingerprint) = 32", name="idempotency_keys_fingerprint_length"),
    # Two conditions and no counted repetition, which takes twenty times as long to match.
    CheckConstraint(
        "octet_length(key) BETWEEN 1 AND 200 AND key ~ '^[!-~]+$'", name="idempotency_keys_shape"
    ),
)
