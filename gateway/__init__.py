"""mcp-gateway: one door in front of all of a person's or a company's MCP servers."""

__version__ = "0.1.0"
