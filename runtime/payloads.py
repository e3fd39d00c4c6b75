"""How workflows' inputs and results are written down: JSON, read and written by Pydantic.

The SDK's own converter takes several times as long over dataclasses. Its Pydantic one remembers
what it learns of a type for as long as one workflow lives, and so learns it anew for each.
"""

from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    JSONProtoPayloadConverter,
)

ENCODING: Final = "json/plain"


class _PydanticJson(EncodingPayloadConverter):
    @property
    def encoding(self) -> str:
        return ENCODING

    def to_payload(self, value: Any) -> Payload:
        return Payload(metadata={"encoding": ENCODING.encode()}, data=to_json(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return _adapter(Any if type_hint is None else type_hint).validate_json(payload.data)


class JsonPayloads(CompositePayloadConverter):
    """Writes dataclasses of the contracts, and all else that Pydantic knows, as JSON."""

    def __init__(self) -> None:
        super().__init__(
            BinaryNullPayloadConverter(),
            BinaryPlainPayloadConverter(),
            JSONProtoPayloadConverter(),
            _PydanticJson(),
        )


DATA_CONVERTER: Final = DataConverter(payload_converter_class=JsonPayloads)


@cache
def _adapter(type_hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_hint)
