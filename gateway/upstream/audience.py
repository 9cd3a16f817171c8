"""Whom it concerns what an upstream says unasked: decided by who has used the connection it came by. Pure."""

from dataclasses import dataclass, field

from gateway.request import Agent

SEVERAL = 2
"""How many root principals are remembered: with the second, what belongs to no request is nobody's."""


@dataclass(slots=True)
class Audience:
    """Who may hear what belongs to no request on one connection, for as long as that connection lives."""

    agent: Agent | None = None
    """Its one client, if it has but one."""
    principal: str | None = None
    """The id of the principal that has it to itself, if no single agent does."""
    roots: set[str] = field(default_factory=set[str])
    """The root principals that have used it; at most `SEVERAL`."""

    @property
    def is_private(self) -> bool:
        """Whether the connection serves one agent or principal only."""
        return self.agent is not None or self.principal is not None

    def used_by(self, root: str) -> None:
        """A request for that root principal is about to be sent."""
        if len(self.roots) < SEVERAL:
            self.roots.add(root)

    def includes(self, agent: Agent) -> bool:
        """Whether it may be meant for that agent. While nobody has used the connection it may be meant for anybody."""
        if self.agent is not None:
            return agent.id == self.agent.id
        if self.principal is not None:
            return agent.opener.id == self.principal
        return self.roots <= {agent.opener.root_id}
