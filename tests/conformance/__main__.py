"""The official suite, without the gateway and through it, compared check by check.

    scripts/conformance [--client] [--revision REVISION] [--upstream NAME | --agent ERA] [--out FOLDER]

The suite plays the client: of `tests.servers.everything`, and of a gateway with the same server behind it, by each
transport, at `/mcp/{upstream}`. Likewise `tests.servers.highlevel`, which is for 2025-11-25 only, and for extensions
`tests.servers.skilled` and `tests.servers.tasked`. With `--client` it plays the server: for the SDK's own client, and
for a gateway with such a client before it.

Exit code: 0 if nothing differs but what is known to, 1 if something does, 75 if the suite is not to be had.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Collection, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from tests.conformance.compare import Difference, clients_differ, failing, servers_differ, surprises
from tests.conformance.known import KNOWN
from tests.conformance.suite import REVISIONS, Checks, Results, Suite, fetch
from tests.interaction._gateway import Entry, child, http_gateway
from tests.public.packages import OutOfReach
from tests.support import command, http_server

DESCRIPTION: Final = "The official suite, without the gateway and through it, compared check by check."
EVERYTHING: Final = "tests.servers.everything"
HIGHLEVEL: Final = "tests.servers.highlevel"
SKILLED: Final = "tests.servers.skilled"
TASKED: Final = "tests.servers.tasked"
SERVERS: Final = {"highlevel": HIGHLEVEL, "skills": SKILLED, "tasks": TASKED}
"""What names of upstreams begin with → the server behind it; it is `EVERYTHING` behind all others."""
UPSTREAMS: Final = (
    *("stdio", "sse", "http", "http-handshake", "highlevel", "highlevel-stdio"),
    *("skills", "skills-stdio", "tasks", "tasks-stdio"),
)
"""What is behind the gateway. The servers know both eras but for one; over SSE the gateway asks for the older."""
SPOKEN: Final = {HIGHLEVEL: REVISIONS[:1], TASKED: REVISIONS[1:]}
"""The revisions of servers that are not for all."""
SCENARIOS: Final = {
    SKILLED: ("sep-2640-skills-enumeration", "sep-2640-skills-manifest", "sep-2640-skills-directory"),
    TASKED: (
        *("tasks-capability-negotiation", "tasks-dispatch-and-envelope", "tasks-lifecycle", "tasks-mrtr-composition"),
        *("tasks-mrtr-input", "tasks-request-headers", "tasks-request-state-removal", "tasks-required-task-error"),
        *("tasks-status-notifications", "tasks-wire-fields"),
    ),
}
"""What is played with servers of an extension. With all others, what the revision requires."""
AGENTS: Final = ("handshake", "modern")
"""Who is before the gateway while it is a client."""
LEFT_OUT: Final = {
    "auth/dpop": (
        "SEP-1932 is a draft. Its proofs (DPoP, RFC 9449) are signed for each request, over its method, address and "
        "token, with nonces of both servers. The gateway's connections have the headers of all their requests ready as "
        "bytes; that would have to be otherwise for each server that wants a login. The SDK proves no possession of a "
        "key either."
    ),
    "auth/dpop-nonce": "likewise",
}
"""Scenarios that are not played, and why."""
LOGINS: Final = "auth/"
"""What scenarios begin with in which an upstream wants a login."""
ERAS: Final[Mapping[str, str]] = dict(zip(REVISIONS, AGENTS, strict=True))
AT_A_TIME: Final = 3
NOT_DIRECT: Final = {"auth/enterprise-managed-authorization", "auth/wif-jwt-bearer"}
"""Those for which the SDK has no example: the gateway alone plays them."""
OUT_OF_REACH: Final = 75
"""EX_TEMPFAIL of sysexits.h; CI skips a step that ends so."""


class Report:
    """A line for each comparison, and one for each thing in it that nobody expects."""

    def __init__(self, only: Collection[str] = ()) -> None:
        self.is_good = True
        self._known = [
            replace(each, checks={name: checks for name, checks in each.checks.items() if matches(name, only)})
            for each in KNOWN
        ]

    def add(self, revision: str, way: str, direct: Results, differences: list[Difference]) -> None:
        unexpected = [*failing(direct), *surprises(differences, self._known, revision, way)]
        verdict = f"equal but for {len(differences)} known" if differences else "equal"
        checks = sum(checks.total() for checks in direct.values())
        print(f"{revision}  {way:<15}{len(direct):>3} scenarios {checks:>4} checks  ", end="")
        print("\n    ".join(["DIFFERS", *unexpected] if unexpected else [verdict]), flush=True)
        self.is_good = self.is_good and not unexpected


def compare_servers(suite: Suite, revisions: Collection[str], upstreams: Collection[str], out: Path) -> bool:
    report = Report()
    with serving(upstreams, out / "gateway") as (urls, gateway):
        for revision in revisions:
            for server, url in urls.items():
                if revision not in SPOKEN.get(server, REVISIONS):
                    continue
                scenarios = SCENARIOS.get(server, ())
                direct = suite.check_server(url, revision, out / revision / f"direct-{server}", scenarios)
                for upstream in [name for name in upstreams if server_of(name) == server]:
                    there = f"{gateway}/mcp/{upstream}"
                    through = suite.check_server(there, revision, out / revision / upstream, scenarios)
                    report.add(revision, upstream, direct, servers_differ(direct, through))
    return report.is_good


def server_of(upstream: str) -> str:
    return SERVERS.get(upstream.partition("-")[0], EVERYTHING)


@contextmanager
def serving(upstreams: Collection[str], folder: Path) -> Generator[tuple[dict[str, str], str]]:
    """The URLs of the servers themselves, and of a gateway before one of each kind."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        servers = dict.fromkeys(map(server_of, upstreams))
        direct = {server: stack.enter_context(http_server(server)) for server in servers}
        entries = {name: entry(name, stack) for name in upstreams}
        yield direct, stack.enter_context(http_gateway(folder, entries)).base


def entry(name: str, stack: ExitStack) -> Entry:
    """What the gateway's configuration says of an upstream, which is started if the gateway does not do that."""
    match name:
        case "stdio" | "highlevel-stdio" | "skills-stdio" | "tasks-stdio":
            return child(server_of(name))
        case "sse":
            return {"type": "sse", "url": stack.enter_context(http_server(EVERYTHING, transport="sse", path="/sse"))}
        case "http-handshake":
            return {"type": "http", "url": stack.enter_context(http_server(EVERYTHING, "--era", "handshake"))}
        case _:
            return {"type": "http", "url": stack.enter_context(http_server(server_of(name)))}


def compare_clients(
    suite: Suite, revisions: Collection[str], agents: Collection[str], out: Path, only: Collection[str]
) -> bool:
    report = Report(only)
    for revision in revisions:
        direct = play(suite, "direct", revision, out / revision / "direct", only)
        for agent in agents:
            through = play(suite, agent, revision, out / revision / agent, only)
            played = {name: checks for name, checks in direct.items() if is_played(name, agent, revision)}
            report.add(revision, agent, played, clients_differ(played, through))
    return report.is_good


def is_played(scenario: str, way: str, revision: str) -> bool:
    """Whether somebody plays a scenario. A login at an upstream is not the agent's business: those are played with
    agents of one era."""
    if scenario in LEFT_OUT or (way == "direct" and scenario in NOT_DIRECT):
        return False
    return not scenario.startswith(LOGINS) or way in ("direct", ERAS[revision])


def matches(scenario: str, globs: Collection[str]) -> bool:
    return not globs or any(fnmatch(scenario, glob) for glob in globs)


def play(suite: Suite, way: str, revision: str, out: Path, only: Collection[str] = ()) -> Results:
    """All scenarios for clients, or those that match a glob, with `client.py` in one of its ways. Logins take several
    processes each, which wait for each other: some are played at a time."""
    client = command("tests.conformance.client", way)
    scenarios = [name for name in suite.client_scenarios(revision) if is_played(name, way, revision)]
    scenarios = [name for name in scenarios if matches(name, only)]

    def one(name: str) -> Checks:
        return suite.check_client(client, name, revision, out / name)

    logins = [name for name in scenarios if name.startswith(LOGINS)]
    results = {name: one(name) for name in scenarios if name not in logins}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        results |= dict(zip(logins, pool.map(one, logins), strict=True))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=DESCRIPTION)
    parser.add_argument("--client", action="store_true", help="the suite plays the server")
    parser.add_argument("--revision", choices=REVISIONS, action="append", help="only this one")
    parser.add_argument("--upstream", choices=UPSTREAMS, action="append", help="only with this one behind the gateway")
    parser.add_argument("--agent", choices=AGENTS, action="append", help="with --client: only with this one before it")
    parser.add_argument(
        "--scenario", action="append", default=[], help="with --client: only those that match this glob"
    )
    parser.add_argument("--out", type=Path, help="a new folder, to keep what the suite writes")
    given = parser.parse_args()
    if given.out and given.out.exists():
        parser.error(f"{given.out} is there already")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as an exception, so that what was started is ended
    try:
        suite = fetch()
    except OutOfReach as error:
        print(f"Skipped, because the suite is out of reach: {error}")
        return OUT_OF_REACH
    with ExitStack() as stack:
        out = given.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        revisions = given.revision or REVISIONS
        if given.client:
            good = compare_clients(suite, revisions, given.agent or AGENTS, out, given.scenario)
        else:
            good = compare_servers(suite, revisions, given.upstream or UPSTREAMS, out)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
