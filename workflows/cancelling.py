"""The request to a workflow of any kind to end."""

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import RequestCancelWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflows.gateway import RPC_TIMEOUT, temporal_errors


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
            with temporal_errors():
                await self._client.workflow_service.request_cancel_workflow_execution(
                    RequestCancelWorkflowExecutionRequest(
                        namespace=self._client.namespace,
                        workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                        identity=self._client.identity,
                        reason="The transfer or batch is final.",
                    ),
                    timeout=RPC_TIMEOUT,
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
