"""The agents' side: Streamable HTTP, HTTP+SSE and stdio."""
