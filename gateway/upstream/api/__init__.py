"""HTTP APIs as upstreams: their documents, fetched, compiled and kept fresh. What calls them is `transport/api`."""
