"""What is written as an array's text is read by PostgreSQL as the list that it was."""

from uuid import UUID

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from persistence import array_text
from tests.property.examples import examples
from tests.support.postgres import PostgresServer

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@examples(100)
@given(
    uuids=st.lists(st.none() | st.uuids()),
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1)),
    texts=st.lists(st.none() | TEXTS | st.sampled_from(["", "NULL", '"', "\\", "{}", ",", " "])),
    hashes=st.lists(st.binary(max_size=40)),
)
async def test_lists_arrive_as_they_were(
    postgres: PostgresServer,
    uuids: list[UUID | None],
    numbers: list[int],
    texts: list[str | None],
    hashes: list[bytes],
) -> None:
    async with await psycopg.AsyncConnection.connect(postgres.admin_url) as connection:
        found = await connection.execute(
            "SELECT %s::uuid[], %s::bigint[], %s::text[], %s::bytea[]",
            [
                array_text.uuids(uuids),
                array_text.numbers(numbers),
                array_text.texts(texts),
                array_text.hashes(hashes),
            ],
        )
        assert await found.fetchone() == (uuids, numbers, texts, hashes)
