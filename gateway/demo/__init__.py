"""Two small MCP servers that need no network and no credentials."""
