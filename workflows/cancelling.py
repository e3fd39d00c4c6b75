"""The request to a workflow of any kind to end."""

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflows.temporal_calls import request_cancel


class WorkflowCanceller:
    """Cancels workflows by their id."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def cancel(self, workflow_id: str) -> None:
        """Ask a workflow to end; one that is closed needs not hear it.

        Raises
        ------
        TemporalUnavailable
            No answer.
        """
        try:
            await request_cancel(
                self._client,
                WorkflowExecution(workflow_id=workflow_id),
                identity=self._client.identity,
                reason="The transfer or batch is final.",
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
