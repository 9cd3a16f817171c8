"""Why a server may have failed, and what to do: from how it is reached, and from what the gateway heard of it."""

import re
import shlex
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio

from gateway.cli.doctor.findings import Finding
from gateway.cli.doctor.probe import ServerProbe
from gateway.names import resolver

if TYPE_CHECKING:
    from gateway.config.models import ServerConfig

CONNECT_SECONDS: Final = 3.0
_STATUS: Final = re.compile(r"\bHTTP status (\d{3})\b")
_PATHS: Final = "many servers are at /mcp, older ones at /sse with `type: sse`"


async def explain(
    name: str, server: "ServerConfig", tried: ServerProbe, said: list[str], seconds: float = CONNECT_SECONDS
) -> Finding:
    """The finding for a server that did not work, or of which not everything did."""
    reason = tried.contact.reason
    if tried.contact.works:
        remedy = "its other lists work; ask whoever maintains the server"
        return Finding("note", f"works in part: {reason}", remedy, name, tuple(said))
    if tried.contact.needs_login:
        what, _, way = reason.rpartition("; ")
        return Finding("problem", f"needs a login: {what}", way, name)
    if server.openapi is not None:
        remedy = "correct `openapi` in its entry; it is the address of the document itself, not of a page that shows it"
    elif server.type == "stdio":
        remedy = _of_program(server, reason)
    else:
        remedy = await _of_remote(server, reason, seconds)
    return Finding("problem", reason, remedy, name, tuple(said))


def _of_program(server: "ServerConfig", reason: str) -> str:
    by_hand = shlex.join([server.command or "", *server.args])
    if server.cwd is not None:
        by_hand = f"cd {shlex.quote(str(server.cwd))} && {by_hand}"
    remedy = f"start it by hand and see what it says: {by_hand}"
    if server.env:
        remedy += f"\nwith {', '.join(server.env)} set as in its `env`"
    if "did not answer" in reason:
        remedy += "\na first start may have to download much: raise `connect_timeout` in its entry"
    return remedy


async def _of_remote(server: "ServerConfig", reason: str, seconds: float) -> str:
    if match := _STATUS.search(reason):
        return _of_status(int(match[1]))
    remedy = await unreachable(server.url or "", seconds)
    return remedy or f"the host answers, but not with MCP: check the path in `url`; {_PATHS}"


async def unreachable(url: str, seconds: float = CONNECT_SECONDS) -> str:
    """What to do if nobody answers there; empty if somebody does."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with anyio.fail_after(seconds):
            await _connect(host, port, encrypted=False)
    except TimeoutError:
        return f"{host} port {port} does not answer: a firewall, a VPN that is off, or a wrong address"
    except OSError as error:
        if "not known" in str(error) or "resolve" in str(error) or type(error).__name__ == "gaierror":
            return f"correct the host name {host!r} in `url`, or check the network and the VPN"
        return f"nothing listens on {host} port {port}: start the server, or correct `url`"
    return await _of_tls(host, port, seconds) if parts.scheme == "https" else ""


async def _of_tls(host: str, port: int, seconds: float) -> str:
    try:
        with anyio.fail_after(seconds):
            await _connect(host, port, encrypted=True)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted here ({error.verify_message}); install the authority that issued it"
    except (ssl.SSLError, OSError, anyio.EndOfStream):
        return f"{host} port {port} does not speak TLS: is it http:// rather than https://?"
    return ""


async def _connect(host: str, port: int, *, encrypted: bool) -> None:
    address, *_ = await resolver().addresses(host)
    if encrypted:
        stream = await anyio.connect_tcp(address, port, tls=True, tls_hostname=host)
    else:
        stream = await anyio.connect_tcp(address, port)
    await anyio.aclose_forcefully(stream)


def _of_status(status: int) -> str:
    if status in (401, 403):
        return (
            "give it credentials: headers: {Authorization: Bearer ${TOKEN}} in its entry, and check that they are valid"
        )
    if status == 429:
        return "it limits how often it may be asked; try again later"
    if status >= 500 and status not in (501, 505):
        return "the server itself is in trouble; try again later, or ask whoever runs it"
    return f"check the path in `url`; {_PATHS}"
