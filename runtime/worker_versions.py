"""Versions of workers in Temporal: which one a process is of, and which one is current."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
)
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from runtime.settings import Settings

STATUS_PREFIX: Final = "WORKER_DEPLOYMENT_VERSION_STATUS_"
CALL_TIMEOUT: Final = timedelta(seconds=20)
"""Temporal makes sure of a change on all its task queues before it answers."""


class VersionRefused(Exception):
    """Temporal knows no such deployment or version, or not all of its workers have reported yet."""


@dataclass(frozen=True, slots=True)
class WorkerVersion:
    """One version of a deployment, as Temporal knows it."""

    build_id: str
    status: str


@dataclass(frozen=True, slots=True)
class WorkerDeployment:
    """A deployment: which version takes new work, and which takes a share of it.

    Parameters
    ----------
    current, ramping
        Build ids; ``None`` where there is none. Without a current one, workers without versions
        take the work.
    """

    name: str
    current: str | None
    ramping: str | None
    ramping_percentage: float
    versions: Sequence[WorkerVersion]


def deployment_of(settings: Settings) -> WorkerDeploymentConfig | None:
    """Give the version that a process's worker is of; ``None`` where workers have no versions.

    Notes
    -----
    Workflows move to the current version. See
    docs/decisions/0025-workflows-move-with-the-version.md.
    """
    name, build_id = settings.worker_deployment_name, settings.worker_build_id
    if name is None or build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=name, build_id=build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def describe(client: Client, name: str) -> WorkerDeployment:
    """Read a deployment.

    Raises
    ------
    VersionRefused
        No versioned worker of that name has ever reported.
    """
    try:
        answer = await client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=name),
            timeout=CALL_TIMEOUT,
        )
    except RPCError as error:
        raise _explained(error, name) from error
    found = answer.worker_deployment_info
    routing = found.routing_config
    return WorkerDeployment(
        name=name,
        current=routing.current_deployment_version.build_id or None,
        ramping=routing.ramping_deployment_version.build_id or None,
        ramping_percentage=routing.ramping_version_percentage,
        versions=[
            WorkerVersion(
                version.deployment_version.build_id,
                WorkerDeploymentVersionStatus.Name(version.status).removeprefix(STATUS_PREFIX),
            )
            for version in found.version_summaries
        ],
    )


async def set_current(client: Client, name: str, build_id: str) -> None:
    """Let a version take all new work, and running workflows as their old workers stop.

    Raises
    ------
    VersionRefused
        No worker of that version has reported yet, or not those of all its task queues.
    """
    try:
        await client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=client.namespace,
                deployment_name=name,
                build_id=build_id,
                identity=client.identity,
            ),
            timeout=CALL_TIMEOUT,
        )
    except RPCError as error:
        raise _explained(error, f"{name}.{build_id}") from error


async def set_ramping(client: Client, name: str, build_id: str, percentage: float) -> None:
    """Let a version take a share of the work beside the current one.

    Parameters
    ----------
    percentage
        0 to 100. Which workflows are in it follows from their ids.

    Raises
    ------
    VersionRefused
        No worker of that version has reported yet.
    """
    try:
        await client.workflow_service.set_worker_deployment_ramping_version(
            SetWorkerDeploymentRampingVersionRequest(
                namespace=client.namespace,
                deployment_name=name,
                build_id=build_id,
                percentage=percentage,
                identity=client.identity,
            ),
            timeout=CALL_TIMEOUT,
        )
    except RPCError as error:
        raise _explained(error, f"{name}.{build_id}") from error


def _explained(error: RPCError, what: str) -> Exception:
    if error.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION}:
        return VersionRefused(f"{what}: {error.message}")
    return error
