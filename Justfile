# The front door for whoever works here. The recipes call the same scripts as CI and the README.

set positional-arguments

# List the recipes
default:
    @just --list --unsorted

# Make the environment to work in (.venv), with everything the tests need
setup:
    uv sync --frozen --group deploy

# Start the gateway on servers.yaml; arguments go to `mcp-gateway serve`
run *arguments:
    @scripts/run "$@"

# The same, started anew whenever the code changes (servers.yaml is followed by itself)
run-reload *arguments:
    uv run --frozen watchfiles --filter python "mcp-gateway serve $*" gateway

# Run every test; arguments go to pytest
test *arguments:
    @scripts/test "$@"

# Run what needs neither servers nor the network: seconds instead of minutes
test-unit *arguments:
    @scripts/test tests/config tests/catalogue/test_naming.py tests/catalogue/test_merge.py tests/bridge/test_state.py tests/access/test_rate_limit.py tests/upstream/test_breaker.py tests/test_jsonrpc.py tests/test_protocol.py "$@"

# Write the code the way it is written here
format:
    uv run --frozen ruff check --fix
    uv run --frozen ruff format

# Types alone
typecheck:
    uv run --frozen pyright

# Remove what tools leave behind: caches, builds, the environment
clean:
    rm -rf .venv .pytest_cache .ruff_cache .hypothesis dist build
    find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Style, types, import directions, and whether the exported schema is current
lint:
    @scripts/lint

# What to do before a commit
check: lint test

# All that CI does, the README's commands included (those run in a clone of the last commit)
ci:
    @.ci/run

# Gateway, Valkey, Prometheus, Grafana and Jaeger in containers, on this machine only; `two` for two gateways behind nginx
docker-up variant="one":
    docker compose -f deploy/docker/compose.yaml {{ if variant == "two" { "-f deploy/docker/compose.two.yaml" } else { "" } }} up --build --detach --remove-orphans
    @docker compose -f deploy/docker/compose.yaml logs --no-log-prefix keys

# End them; `--volumes` also forgets keys, state and what was measured
docker-down *arguments:
    docker compose -f deploy/docker/compose.yaml -f deploy/docker/compose.two.yaml down --remove-orphans "$@"

# The protocol's official suite, without the gateway and through it; `--client` for the other side, `--help` for the rest
conformance *arguments:
    @scripts/conformance "$@"

# What a call costs, beside limits and peers in one run; `--help` tells the suites
bench *arguments:
    @scripts/bench "$@"

# CPU per call of our connections beside the SDK's transports
bench-outbound *arguments:
    uv run python -m tests.bench.outbound "$@"

# CPU per ping of the agents' side; what slow requests and bombs cost the others
bench-inbound *arguments:
    uv run python -m tests.bench.inbound "$@"

# Where a call's time goes in the gateway's process, function by function
bench-profile *arguments:
    uv run python -m tests.bench.profile "$@"

# What a call costs in instructions, however busy the machine is (needs valgrind)
bench-instructions *arguments:
    uv run python -m tests.bench.instructions "$@"

# What calls leave behind that only the garbage collector finds
bench-cycles *arguments:
    uv run python -m tests.bench.cycles "$@"

# The latency of one upstream's calls, with and without hundreds that hang at another
bench-neighbours *arguments:
    uv run python -m tests.bench.neighbours "$@"

# How soon callers know when a server hangs or dies
bench-faults *arguments:
    uv run python -m tests.bench.faults "$@"

# How long the gateway stalls while 100 servers with 200 tools each start, and while lists change all the time
bench-catalogue *arguments:
    uv run python -m tests.bench.catalogue "$@"

# How long the gateway stalls while many listen to much, while lists change for many, and at a reload with many sessions
bench-listeners *arguments:
    uv run python -m tests.bench.listeners "$@"

# How soon an agent has its tools: with and without a snapshot, and beside a server that is dead or hangs
bench-start *arguments:
    uv run python -m tests.bench.start "$@"

# All that is fuzzed, 20,000 examples each instead of 100; arguments go to pytest
fuzz *arguments:
    @scripts/test tests/fuzz tests/frontend/test_fuzz.py tests/config/test_fuzz.py tests/upstream/test_events.py tests/upstream/test_lines.py tests/test_jsonrpc.py --hypothesis-profile=fuzz "$@"

# The same guided by coverage, for an hour; arguments go to libFuzzer
fuzz-guided *arguments:
    uv run --with atheris python -m tests.fuzz.guided -max_total_time=3600 "$@"

# A million calls with sessions that come and go, servers that die, and reloads; draws what it takes (soak.png)
soak *arguments:
    @scripts/bench soak "$@"
