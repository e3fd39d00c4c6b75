"""Whether what this process needs is there: for metrics."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from api.context import Dependencies
from domain.errors import DatabaseUnavailable
from persistence.database import Database
from runtime.migrations import schema_problem

POLLER_SEEN: Final = timedelta(seconds=120)
"""A worker that polls asks again within a minute; Temporal names it for five behind its end."""

LOOK_TIMEOUT: Final = timedelta(seconds=2)


async def look_at(database: Database, client: Client, *, task_queue: str) -> Dependencies:
    """Tell whether PostgreSQL and Temporal answer, and how many workers poll."""
    is_database_there, pollers = await asyncio.gather(
        _answers(database), _pollers(client, task_queue)
    )
    return Dependencies(is_database_there, pollers)


async def _answers(database: Database) -> bool:
    try:
        await schema_problem(database)
    except DatabaseUnavailable:
        return False
    return True


async def _pollers(client: Client, task_queue: str) -> int | None:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        found = await client.workflow_service.describe_task_queue(request, timeout=LOOK_TIMEOUT)
    except RPCError:
        return None
    since = datetime.now(UTC) - POLLER_SEEN
    return sum(poller.last_access_time.ToDatetime(UTC) > since for poller in found.pollers)
