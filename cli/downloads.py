"""Documents that commands write to a file or to standard output."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import typer

from cli.calls import Api
from cli.console import messages, print_line
from cli.failures import CommandFailed

PDF = "pdf"


@dataclass(frozen=True, kw_only=True)
class Download(Api):
    """Options of commands that write what the API answers with."""

    output: Annotated[
        Path | None,
        typer.Option(help="File to write; standard output by default.", dir_okay=False),
    ] = None

    def write(self, path: str, parameters: Mapping[str, str | None]) -> None:
        """Ask for a document, and write it: a file whole or not at all.

        Raises
        ------
        CommandFailed
            A PDF would go to a terminal, or the file cannot be written.
        """
        if self.output is not None:
            self._write_to(self.output, path, parameters)
            print_line(f"Wrote {self.output}.", console=messages())
            return
        if parameters.get("format") == PDF and sys.stdout.isatty():
            raise CommandFailed("A PDF is nothing for a terminal: name a file with --output.")
        self._copy(path, sys.stdout.buffer, parameters)
        sys.stdout.buffer.flush()

    def _write_to(self, output: Path, path: str, parameters: Mapping[str, str | None]) -> None:
        part = output.with_name(f".{output.name}.part")
        try:
            with part.open("wb") as file:
                self._copy(path, file, parameters)
            part.replace(output)
        except OSError as error:
            raise CommandFailed(f"{output} cannot be written: {error.strerror}.") from error
        finally:
            with suppress(OSError):
                part.unlink()

    def _copy(self, path: str, target: IO[bytes], parameters: Mapping[str, str | None]) -> None:
        self.ask(lambda api: api.download(path, target, **parameters))
