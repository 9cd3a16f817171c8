"""One namespaced catalogue out of many upstreams."""
