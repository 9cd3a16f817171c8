"""The wires to upstreams: Streamable HTTP, the older HTTP+SSE, and stdio."""
