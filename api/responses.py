"""Answers in JSON, and what OpenAPI says of them."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import Response
from pydantic import BaseModel

from api.problems import PROBLEM_MEDIA_TYPE
from api.schemas import ListView, Problem
from domain.pages import Page

Item = TypeVar("Item")
View = TypeVar("View", bound=BaseModel)

_PROBLEM: Final[dict[str, Any]] = {
    "model": Problem,
    "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Document the problems of a route; those of every route are included."""
    always = (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return {
        int(status): {**_PROBLEM, "description": status.phrase} for status in (*always, *statuses)
    }


def answer(
    view: BaseModel,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a body; integers stay exact, however large."""
    return Response(
        view.model_dump_json(),
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )


def answer_page(page: Page[Item], view: Callable[[Item], View]) -> Response:
    """Answer with a page of a list."""
    shown: ListView[Any] = ListView(
        data=[view(item) for item in page.items], next_cursor=page.next_cursor
    )
    return answer(shown)
