# The front door for whoever works here. The recipes call the same scripts as CI and the README.

set positional-arguments

# List the recipes
default:
    @just --list --unsorted

# Start the gateway on servers.yaml; arguments go to `mcp-gateway serve`
run *arguments:
    @scripts/run "$@"

# Run every test; arguments go to pytest
test *arguments:
    @scripts/test "$@"

# Style, types, import directions, and whether the exported schema is current
lint:
    @scripts/lint

# What to do before a commit
check: lint test

# All that CI does, the README's commands included (those run in a clone of the last commit)
ci:
    @.ci/run

# The protocol's official suite, without the gateway and through it; `--client` for the other side, `--help` for the rest
conformance *arguments:
    @scripts/conformance "$@"

# CPU per call of our connections beside the SDK's transports
bench *arguments:
    uv run python tests/bench/outbound.py "$@"
