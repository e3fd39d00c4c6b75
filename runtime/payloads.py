"""How workflows' inputs and results are written down: JSON, read and written by Pydantic.

The SDK's own converter takes several times as long over dataclasses. Its Pydantic one remembers
what it learns of a type for as long as one workflow lives, and so learns it anew for each.
"""

from functools import cache
from typing import Any, Final, Self

from pydantic import TypeAdapter
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    EncodingPayloadConverter,
    JSONProtoPayloadConverter,
    SerializationContext,
)

from workflows.payload_codec import EncryptedPayloads
from workflows.payload_keys import PayloadKeyRing

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


class _Encrypting(DataConverter):
    """A converter that is bound to a workflow without being made anew."""

    def with_context(self, context: SerializationContext) -> Self:
        """Bind the codec: the only part that asks where a payload belongs.

        Notes
        -----
        The SDK's own way makes all converters again, some ten times in a transfer.
        """
        codec = self.payload_codec
        if not isinstance(codec, EncryptedPayloads):
            return super().with_context(context)
        bound = codec.with_context(context)
        if bound is codec:
            return self
        converter = object.__new__(type(self))
        converter.__dict__.update(self.__dict__, payload_codec=bound)
        return converter


def encrypting(ring: PayloadKeyRing, *, is_required: bool = False) -> DataConverter:
    """Make the converter that also encrypts, messages and traces of failures too.

    Parameters
    ----------
    ring
        The keys.
    is_required
        Refuse payloads that are not encrypted.
    """
    return _Encrypting(
        payload_converter_class=JsonPayloads,
        payload_codec=EncryptedPayloads(ring, is_required=is_required),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


@cache
def _adapter(type_hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_hint)
