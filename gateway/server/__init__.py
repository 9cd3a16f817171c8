"""What the gateway is to agents: an MCP server. What it answers itself, and whose everything else is."""
