"""What the gateway tells about itself."""

from gateway.unopened import put_off

put_off("prometheus_client")  # its `__init__` imports an HTTP server, and who asks for metrics is answered by ours
