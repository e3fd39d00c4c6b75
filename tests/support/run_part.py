"""``python -m tests.support.run_part api|worker``: a process of the product without the CLI."""

import asyncio
import sys

from runtime.composition import work_until_stopped
from runtime.logs import configure_logs
from runtime.server import serve
from runtime.settings import Settings


def main(name: str) -> None:
    settings = Settings()
    configure_logs(settings.log_level)
    if name == "api":
        serve(settings)
    else:
        asyncio.run(work_until_stopped(settings))


if __name__ == "__main__":
    main(sys.argv[1])
