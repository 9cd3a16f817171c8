"""Small real MCP servers for the tests to talk to."""
