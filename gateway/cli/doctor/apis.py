"""What `doctor` finds out of HTTP APIs: whether they are there, what of them is no tool, and what proof they lack."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from gateway.cli.doctor.findings import Finding
from gateway.cli.doctor.remedies import unreachable

if TYPE_CHECKING:
    from gateway.cli.doctor.probe import ServerProbe
    from gateway.config.models import ServerConfig
    from gateway.upstream.api.definition import ApiDefinition

MAX_NAMED: Final = 10
"""Most operations that are named one by one."""


async def findings(servers: "Mapping[str, ServerConfig]", probes: "Mapping[str, ServerProbe]") -> list[Finding]:
    """For those that could be tried."""
    found: list[Finding] = []
    for name, tried in probes.items():
        if tried.api is not None:
            if remedy := await unreachable(tried.api_url):
                found.append(Finding("problem", f"its document is there, but the API is not: {remedy}", server=name))
            found += _left_out(name, tried.api)
            found += _unproved(name, servers[name], tried.api)
    return found


def _left_out(name: str, api: "ApiDefinition") -> Iterator[Finding]:
    for each in api.left_out[:MAX_NAMED]:
        yield Finding("note", f"operation {each.name!r} {each.reason}", server=name)
    if len(api.left_out) > MAX_NAMED:
        yield Finding("note", f"{len(api.left_out) - MAX_NAMED} more operations are no tools", server=name)


def _unproved(name: str, server: "ServerConfig", api: "ApiDefinition") -> Iterator[Finding]:
    """Schemes that operations want, of which the file has nothing."""
    schemes = api.info.schemes
    given = server.openapi.credentials if server.openapi is not None else {}
    for scheme in given:
        if scheme not in schemes:
            known = ", ".join(sorted(schemes)) or "none"
            remedy = f"correct `openapi.credentials`; the document's schemes are: {known}"
            yield Finding("note", f"its document has no security scheme {scheme!r}", remedy, name)
    sent = {header.lower() for header in server.headers}
    if server.auth_kind != "none":
        sent.add("authorization")
    proved = set(given)
    for scheme, about in schemes.items():
        header = about.name.lower() if about.kind == "apiKey" else "authorization"
        if about.place in ("", "header") and header in sent:
            proved.add(scheme)
    wanting = [each for each in api.operations.values() if each.security and not _is_proved(each.security, proved)]
    if wanting:
        wanted = sorted({scheme for each in wanting for names in each.security for scheme in names})
        what = f"{len(wanting)} of its {len(api.operations)} operations want a proof that the file does not have"
        shape = "{" + ", ".join(f"{scheme}: ${{TOKEN}}" for scheme in wanted[:3]) + "}"
        yield Finding("note", what, f"give `openapi: {{credentials: {shape}}}`, or `headers`, or `auth`", name)


def _is_proved(security: tuple[tuple[str, ...], ...], proved: set[str]) -> bool:
    return any(proved.issuperset(names) for names in security)
