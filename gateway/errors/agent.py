"""What happened at the agent, as an upstream that asked it something is told."""

from typing import Any

from gateway import protocol
from gateway.errors.base import GatewayError


class AgentError(GatewayError):
    """The agent's own JSON-RPC error, passed through as it is."""

    outcome = "agent_error"

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class AgentCannot(GatewayError):
    """The agent did not declare to be able to answer that, or has no way to be asked."""

    code, outcome = protocol.METHOD_NOT_FOUND, "unanswerable"

    def __init__(self, reason: str, missing: dict[str, Any] | None = None) -> None:
        super().__init__(f"This client cannot be asked: {reason}.")
        self.reason = reason
        self.data = {"requiredCapabilities": missing} if missing else None


class AgentGone(GatewayError):
    """The agent left before it answered."""

    code, outcome = protocol.INTERNAL_ERROR, "agent_gone"

    def __init__(self) -> None:
        super().__init__("The client left before it answered.")
