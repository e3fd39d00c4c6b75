"""What OpenAPI says of the API where FastAPI, left to itself, says something else than is so."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from api.problems import PROBLEM_MEDIA_TYPE
from api.responses import problems
from domain.limits import AMOUNT_MAXIMUM_MINOR

JSON_MEDIA_TYPE: Final = "application/json"
_REFERENCE: Final = "#/components/schemas/"
_BOUNDS: Final = ("minimum", "maximum")


def correct_description(app: FastAPI) -> None:
    """Let an app describe itself as it behaves."""
    describe = app.openapi

    def corrected() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _corrected(describe())
        return app.openapi_schema

    app.openapi = corrected  # type: ignore[method-assign]


def _corrected(description: dict[str, Any]) -> dict[str, Any]:
    schemas = description["components"]["schemas"]
    for operation in _operations(description):
        _describe_problems(operation)
    for part in list(_objects(description)):
        # A schema that was written out whole brings its definitions with it.
        schemas.update(part.pop("$defs", {}))
        _make_exact(part)
    return description


def _operations(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in description["paths"].values():
        yield from methods.values()


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """Go through all objects inside a document, the outer ones first."""
    if isinstance(part, dict):
        yield part
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for child in children:
        yield from _objects(child)


def _describe_problems(operation: dict[str, Any]) -> None:
    """Say of problems that they are never plain JSON, and that any body can be a wrong one."""
    responses = operation["responses"]
    if "requestBody" in operation:
        for status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            said = problems(status)[int(status)]
            parts = {name: said[name] for name in ("description", "content")}
            responses.setdefault(str(int(status)), parts)
    for response in responses.values():
        content = response.get("content", {})
        if PROBLEM_MEDIA_TYPE in content:
            content.pop(JSON_MEDIA_TYPE, None)


def _make_exact(schema: dict[str, Any]) -> None:
    """Write bounds as integers: FastAPI makes floats of them, which the largest amounts are not."""
    for bound in _BOUNDS:
        value = schema.get(bound)
        if isinstance(value, float) and value.is_integer():
            is_largest = value == float(AMOUNT_MAXIMUM_MINOR)
            schema[bound] = AMOUNT_MAXIMUM_MINOR if is_largest else int(value)
