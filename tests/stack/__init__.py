"""The topology of `deploy/docker` as real processes: nginx, two gateways, Valkey, Prometheus, and what takes traces."""
