"""Users, accounts, balances, and the rules on what accounts may send."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from domain.limits import (
    AMOUNT_MAXIMUM_MINOR,
    APPROVAL_SECONDS_MAXIMUM,
    APPROVERS_MAXIMUM,
)
from persistence.tables.columns import (
    MinorUnits,
    created_at_column,
    currency_column,
    id_column,
    metadata,
    metadata_column,
    one_of,
    tenant_id_column,
    time_column,
)

users: Final = Table(
    "users",
    metadata,
    id_column(),
    tenant_id_column(),
    Column("external_id", Text, nullable=True),
    Column("name", Text, nullable=False),
    metadata_column(),
    created_at_column(),
    PrimaryKeyConstraint("id", name="users_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="users_tenant"),
    UniqueConstraint("tenant_id", "external_id", name="users_external_id"),
    UniqueConstraint("tenant_id", "id", name="users_of_tenant"),
)

accounts: Final = Table(
    "accounts",
    metadata,
    id_column(),
    tenant_id_column(),
    Column("account_number", Text, nullable=False),
    Column("user_id", Uuid, nullable=True),
    Column("external_id", Text, nullable=True),
    Column("kind", Text, nullable=False),
    currency_column(),
    metadata_column(),
    created_at_column(),
    PrimaryKeyConstraint("id", name="accounts_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], name="accounts_user"
    ),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="accounts_tenant"),
    UniqueConstraint("account_number", name="accounts_account_number"),
    UniqueConstraint("tenant_id", "external_id", name="accounts_external_id"),
    UniqueConstraint("tenant_id", "id", name="accounts_of_tenant"),
    # Targets of composite foreign keys: what refers to an account shares its tenant and currency.
    UniqueConstraint("id", "tenant_id", "currency", name="accounts_currency"),
    UniqueConstraint("id", "tenant_id", "currency", "kind", name="accounts_kind"),
    CheckConstraint(one_of("kind", "CUSTOMER", "SYSTEM"), name="accounts_kind_known"),
    CheckConstraint("(kind = 'CUSTOMER') = (user_id IS NOT NULL)", name="accounts_owner"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="accounts_currency_code"),
    CheckConstraint("account_number ~ '^[1-9][0-9]{15}$'", name="accounts_number_shape"),
    CheckConstraint("mod(account_number::bigint, 97) = 1", name="accounts_number_check_digits"),
    Index(
        "accounts_settlement",
        "tenant_id",
        "currency",
        unique=True,
        postgresql_where=text("kind = 'SYSTEM'"),
    ),
    Index("accounts_of_user", "tenant_id", "user_id", "id"),
)

balances: Final = Table(
    "balances",
    metadata,
    Column("account_id", Uuid, nullable=False),
    tenant_id_column(),
    currency_column(),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'ACTIVE'")),
    Column("posted_minor", MinorUnits, nullable=False, server_default=text("0")),
    Column("held_minor", MinorUnits, nullable=False, server_default=text("0")),
    Column("overdraft_limit_minor", MinorUnits, nullable=True, comment="null: without limit"),
    Column("last_sequence", BigInteger, nullable=False, server_default=text("0")),
    Column("has_limits", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("account_id", name="balances_pkey"),
    ForeignKeyConstraint(
        ["account_id", "tenant_id", "currency", "kind"],
        ["accounts.id", "accounts.tenant_id", "accounts.currency", "accounts.kind"],
        name="balances_account",
    ),
    CheckConstraint(one_of("status", "ACTIVE", "FROZEN", "CLOSED"), name="balances_status_known"),
    CheckConstraint(
        "(kind = 'SYSTEM') = (overdraft_limit_minor IS NULL)", name="balances_only_system_unlimited"
    ),
    CheckConstraint(
        f"overdraft_limit_minor BETWEEN 0 AND {AMOUNT_MAXIMUM_MINOR}",
        name="balances_overdraft_limit_range",
    ),
    CheckConstraint("held_minor >= 0", name="balances_held_not_negative"),
    CheckConstraint(
        "posted_minor - held_minor + overdraft_limit_minor >= 0", name="balances_available"
    ),
    CheckConstraint(
        "status <> 'CLOSED' OR (posted_minor = 0 AND held_minor = 0)", name="balances_closed_empty"
    ),
    CheckConstraint("last_sequence >= 0", name="balances_sequence_not_negative"),
    # Room in each page for the row's next version, so that an update touches no index.
    postgresql_with={"fillfactor": "50"},
)

account_limits: Final = Table(
    "account_limits",
    metadata,
    Column("account_id", Uuid, nullable=False),
    tenant_id_column(),
    Column("per_transfer_minor", MinorUnits, nullable=True),
    Column("per_day_minor", MinorUnits, nullable=True),
    Column("per_month_minor", MinorUnits, nullable=True),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_by", Uuid, nullable=True, comment="API key"),
    PrimaryKeyConstraint("account_id", name="account_limits_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "account_id"],
        ["accounts.tenant_id", "accounts.id"],
        name="account_limits_account",
    ),
    CheckConstraint(
        " AND ".join(
            f"per_{period}_minor BETWEEN 0 AND {AMOUNT_MAXIMUM_MINOR}"
            for period in ("transfer", "day", "month")
        ),
        name="account_limits_range",
    ),
)

account_usage: Final = Table(
    "account_usage",
    metadata,
    Column("account_id", Uuid, nullable=False),
    tenant_id_column(),
    Column("day", Date, nullable=False, comment="in UTC, of the reserve"),
    Column("used_minor", MinorUnits, nullable=False),
    PrimaryKeyConstraint("account_id", "day", name="account_usage_pkey"),
    ForeignKeyConstraint(
        ["account_id"], ["account_limits.account_id"], name="account_usage_limits"
    ),
    CheckConstraint("used_minor >= 0", name="account_usage_not_negative"),
)

approval_rules: Final = Table(
    "approval_rules",
    metadata,
    id_column(),
    tenant_id_column(),
    currency_column(),
    Column("threshold_minor", MinorUnits, nullable=False, comment="applies above it"),
    Column("approvers", SmallInteger, nullable=False),
    Column("deadline_seconds", Integer, nullable=False),
    created_at_column(),
    Column("created_by", Uuid, nullable=True, comment="API key"),
    time_column("retired_at", nullable=True),
    Column("retired_by", Uuid, nullable=True, comment="API key"),
    PrimaryKeyConstraint("id", name="approval_rules_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="approval_rules_tenant"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="approval_rules_currency_code"),
    CheckConstraint(
        f"threshold_minor BETWEEN 0 AND {AMOUNT_MAXIMUM_MINOR}", name="approval_rules_threshold"
    ),
    CheckConstraint(
        f"approvers BETWEEN 1 AND {APPROVERS_MAXIMUM}", name="approval_rules_approvers"
    ),
    CheckConstraint(
        f"deadline_seconds BETWEEN 1 AND {APPROVAL_SECONDS_MAXIMUM}",
        name="approval_rules_deadline",
    ),
    # The one in force for a threshold.
    Index(
        "approval_rules_in_force",
        "tenant_id",
        "currency",
        "threshold_minor",
        unique=True,
        postgresql_where=text("retired_at IS NULL"),
    ),
)
