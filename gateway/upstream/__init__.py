"""The connections to the upstreams: supervision, transports, and what each upstream offers."""
