"""What is written down of requests and changes, and where: the settings of logs."""

from gateway.config.models.fields import FilePath, Model


class AccessLogSettings(Model):
    """The line that each MCP request leaves in the log."""

    enabled: bool = True
    """Whether there is one."""
    file: FilePath | None = None
    """File of its own, of JSON lines whatever the log's form and level. With the log, at level `info`, when absent."""
