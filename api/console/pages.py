"""Pages: templates, and the headers that go with each."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.console.charts import HEIGHT, WIDTH
from api.console.cookies import FLASH, Flash, drop_cookie, read_flash, read_theme, set_flash
from api.console.details import detail, detail_name
from api.console.formats import FILTERS
from api.console.places import STUCK_PAGES, SUBJECT_PAGES
from api.console.visitors import TOKEN_FIELD, Visitor
from domain.access import Scope

PREFIX: Final = "/console"
FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"

PART_HEADER: Final = "HX-Request"
"""Sent where a script asks, to put the answer into a page."""

LIVE_SECONDS: Final = 3
"""How often a page that is looked at updates itself."""
PROGRESS_SECONDS: Final = 1
"""The same where something moves fast."""

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Nothing from elsewhere, and nothing written into a page can run.
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
)


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the navigation.

    Parameters
    ----------
    scopes
        Of which one is needed to see it.
    """

    name: str
    path: str
    scopes: tuple[Scope, ...]


SECTIONS: Final = (
    Section("Overview", f"{PREFIX}/overview", (Scope.TRANSFERS_READ,)),
    Section("Transfers", f"{PREFIX}/transfers", (Scope.TRANSFERS_READ,)),
    Section("Stuck", f"{PREFIX}/stuck", (Scope.OPERATIONS_READ,)),
    Section("Approvals", f"{PREFIX}/approvals", (Scope.TRANSFERS_READ,)),
    Section("Batches", f"{PREFIX}/batches", (Scope.TRANSFERS_READ,)),
    Section("Standing orders", f"{PREFIX}/standing-orders", (Scope.TRANSFERS_READ,)),
    Section("Accounts", f"{PREFIX}/accounts", (Scope.ACCOUNTS_READ,)),
    Section("Audit log", f"{PREFIX}/audit-log", (Scope.AUDIT_READ, Scope.OPERATIONS_READ)),
    Section("API keys", f"{PREFIX}/api-keys", (Scope.OPERATIONS_READ, Scope.KEYS_WRITE)),
)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS, detail=detail, detail_name=detail_name)
    environment.globals.update(
        Scope=Scope,
        chart_height=HEIGHT,
        chart_width=WIDTH,
        prefix=PREFIX,
        stuck_pages=STUCK_PAGES,
        subject_pages=SUBJECT_PAGES,
        token_field=TOKEN_FIELD,
        # Assets are asked for anew where they may have changed.
        version=version("durable-transfers"),
    )
    return environment


_ENVIRONMENT: Final = _environment()


def page(
    request: Request,
    visitor: Visitor | None,
    template: str,
    *,
    http_status: int = HTTPStatus.OK,
    live_seconds: int | None = None,
    **values: Any,
) -> Response:
    """Answer with a page.

    Parameters
    ----------
    live_seconds
        How often it updates itself while it is looked at; never where left out.
    """
    flash = read_flash(request)
    query = request.url.query
    text = _ENVIRONMENT.get_template(template).render(
        visitor=visitor,
        sections=sections_of(visitor),
        path=request.url.path,
        address=request.url.path + (f"?{query}" if query else ""),
        theme=read_theme(request),
        flash=flash,
        live_seconds=live_seconds,
        **values,
    )
    response = HTMLResponse(text, status_code=http_status, headers=dict(HEADERS))
    if flash is not None:
        drop_cookie(request, response, FLASH)
    return response


def part(
    request: Request, visitor: Visitor, template: str, *, title: str, back: str, **values: Any
) -> Response:
    """Answer with a part of a page, or with a page of its own where a browser opens it itself.

    Parameters
    ----------
    title
        Of the page.
    back
        Path of the page that it is a part of.
    """
    if PART_HEADER in request.headers:
        return fragment(template, visitor=visitor, **values)
    values |= {"part": template, "title": title, "back": back}
    return page(request, visitor, "part.html", **values)


def fragment(template: str, **values: Any) -> Response:
    """Answer with a part of a page."""
    text = _ENVIRONMENT.get_template(template).render(**values)
    return HTMLResponse(text, headers=dict(HEADERS))


def go(path: str) -> Response:
    """Send the browser to a page after a form."""
    return RedirectResponse(path, status_code=HTTPStatus.SEE_OTHER, headers=dict(HEADERS))


def done(request: Request, path: str, text: str, *, is_error: bool = False) -> Response:
    """Send the browser to a page that says what became of a form."""
    response = go(path)
    set_flash(request, response, Flash(text, is_error=is_error))
    return response


def sections_of(visitor: Visitor | None) -> list[Section]:
    """Give the parts of the navigation that a visitor may see."""
    if visitor is None:
        return []
    return [section for section in SECTIONS if visitor.may(*section.scopes)]


def own_path(path: str | None) -> str:
    """Give a path of the console that a form or an address named, or the console's first page.

    Notes
    -----
    Any other place would let an address send people from a login here to somewhere else.
    """
    is_own = path is not None and path.startswith(f"{PREFIX}/") and "\\" not in path
    return path if path is not None and is_own else PREFIX
