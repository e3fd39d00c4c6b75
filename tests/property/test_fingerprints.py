"""The fingerprint tells a repeat of a request from another request."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from api.transfer_schemas import TransferCreate
from domain.batches import StagedRow
from domain.ids import AccountId
from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.money import Money
from domain.transfers import TransferRequest, TransferType
from services.idempotency import fingerprint_of, fingerprint_of_plain

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
)
METADATA = st.dictionaries(
    st.text(max_size=5), st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=4
)
ACCOUNTS = st.uuids().map(AccountId)
REQUESTS = st.builds(
    TransferRequest,
    idempotency_key=st.just("key"),
    type=st.sampled_from(TransferType),
    source=st.none(),
    destination=st.none(),
    money=st.builds(
        Money, st.integers(1, AMOUNT_MAXIMUM_MINOR), st.sampled_from(["EUR", "USD", "JPY"])
    ),
    description=st.none() | st.text(max_size=20),
    metadata=METADATA,
    effective_at=st.none()
    | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
ONE, TWO = AccountId(UUID(int=1)), AccountId(UUID(int=2))


def digest(request: TransferRequest) -> bytes:
    return fingerprint_of(request, source=ONE, destination=TWO)


@given(REQUESTS, st.randoms(use_true_random=False))
def test_the_order_of_metadata_makes_no_difference(request: TransferRequest, random: Any) -> None:
    shuffled = list(request.metadata.items())
    random.shuffle(shuffled)
    assert digest(replace(request, metadata=dict(shuffled))) == digest(request)


@given(REQUESTS)
def test_a_fingerprint_is_the_same_each_time_and_32_bytes_long(request: TransferRequest) -> None:
    assert digest(request) == digest(replace(request))
    assert len(digest(request)) == 32


@given(REQUESTS, REQUESTS)
def test_two_requests_share_a_fingerprint_only_if_they_mean_the_same(
    one: TransferRequest, two: TransferRequest
) -> None:
    def meaning(request: TransferRequest) -> str:
        return json.dumps([getattr(request, field.name) for field in fields(request)], default=repr)

    assert (digest(one) == digest(two)) == (meaning(one) == meaning(two))


@given(REQUESTS, ACCOUNTS, ACCOUNTS)
def test_the_accounts_and_their_order_are_part_of_it(
    request: TransferRequest, source: AccountId, destination: AccountId
) -> None:
    there = fingerprint_of(request, source=source, destination=destination)
    back = fingerprint_of(request, source=destination, destination=source)
    assert (there == back) == (source == destination)


@given(REQUESTS)
def test_the_key_is_no_part_of_it(request: TransferRequest) -> None:
    assert digest(replace(request, idempotency_key="other")) == digest(request)


@given(REQUESTS, ACCOUNTS, ACCOUNTS)
def test_a_row_of_a_batch_has_the_fingerprint_of_its_request(
    request: TransferRequest, source: AccountId, destination: AccountId
) -> None:
    row = StagedRow(
        position=1,
        idempotency_key=request.idempotency_key,
        type=request.type.value,
        source=None,
        destination=None,
        amount_minor=request.money.amount_minor,
        currency=request.money.currency,
        description=request.description,
        metadata=request.metadata or None,
        effective_at=request.effective_at,
    )
    single = fingerprint_of(request, source=source, destination=destination)
    assert fingerprint_of_plain(row, source=source, destination=destination) == single


@given(st.integers(1, AMOUNT_MAXIMUM_MINOR), METADATA)
def test_a_request_over_http_keeps_its_fingerprint_in_every_spelling(
    amount_minor: int, metadata: dict[str, Any]
) -> None:
    body = {"source": "ext:a", "destination": "ext:b", "currency": "EUR"}
    storable = json.loads(json.dumps(metadata).replace("\\u0000", ""))
    digests = {
        digest(TransferCreate.model_validate({**body, **spelling}).to_request("key"))
        for spelling in (
            {"amount": amount_minor, "metadata": storable},
            {"amount": str(amount_minor), "metadata": storable, "type": "INTERNAL"},
            {"metadata": storable, "amount": amount_minor, "description": None},
        )
    }
    assert len(digests) == 1
