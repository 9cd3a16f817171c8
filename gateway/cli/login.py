"""`mcp-gateway login`: log in at a server, in the browser. A gateway that runs sees it by itself."""

import os
import sys
import webbrowser
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

import click

from gateway.cli.common import Exit, check_names, configure_logs, fail, run_once, with_config
from gateway.cli.ui.terminal import bold, harmless, mark

if TYPE_CHECKING:
    from anyio import Event

    from gateway.cli.ui.loopback import OnReturn
    from gateway.config.models import AuthConfig, Config, ServerConfig
    from gateway.logins.failures import AuthFailure
    from gateway.logins.flow import Begun, Flow
    from gateway.logins.record import Login

PAGE_SECONDS: Final = 0.2
"""How long the page may take on its way to the browser."""
WAIT_SECONDS: Final = 600.0
"""How long somebody may take in the browser."""


@click.command("login")
@click.argument("server")
@click.option("--no-browser", is_flag=True, help="Print the link, and take the address that the browser ends at.")
@click.option("--scope", "scopes", multiple=True, help="A scope to ask for besides; may be given several times.")
@with_config
def command(config: "Config", server: str, no_browser: bool, scopes: tuple[str, ...]) -> None:
    """Log in at SERVER, for all who use this gateway.

    Opens the browser and waits until it comes back. Where there is none, prints a link to open anywhere: paste the
    address that the browser ends at, which need not show anything.
    """
    check_names(config, [server])
    configure_logs(config, at_least="error")
    entry = config.servers[server]
    _check(config, server, entry)
    run_once(_login, config, server, entry, no_browser, scopes)


def _check(config: "Config", name: str, server: "ServerConfig") -> None:
    kind = server.auth_kind
    if kind == "none":
        fail(f"nobody logs in to {name!r}: its entry says how it is reached without", Exit.USAGE)
    if kind not in ("auto", "login"):
        fail(f"{name!r} needs nobody: the gateway logs in by itself ({kind})", Exit.USAGE)
    if server.auth.login == "each" and config.gateway.auth.enabled:
        fail(
            f"each principal logs in to {name!r} for themselves, on the gateway's page /connect/{name}; "
            "`auth: {login: shared}` has one login for all",
            Exit.USAGE,
        )


async def _login(
    config: "Config", name: str, server: "ServerConfig", no_browser: bool, scopes: tuple[str, ...]
) -> None:
    import anyio

    from gateway.cli.ui.loopback import listening
    from gateway.logins.failures import AuthFailure
    from gateway.logins.flow import Flow
    from gateway.logins.opening import vault_of
    from gateway.logins.record import SHARED, LoginKey

    key, ended = LoginKey(SHARED, name, server.url or ""), anyio.Event()
    outcome: list[Login | AuthFailure] = []
    begun: list[Begun] = []

    async def on_return(query: Mapping[str, str]) -> tuple[bool, str, str] | None:
        if not begun or ended.is_set():
            return None
        result = await _complete(flow, begun[0], query, server.auth)
        if result is None:
            return None
        outcome.append(result)
        ended.set()
        if isinstance(result, AuthFailure):
            return False, "That did not work", f"{str(result)[:1].upper()}{str(result)[1:]}."
        return True, f"You are logged in to {name}", "You can close this window, and go back to where you came from."

    async with vault_of(config.gateway) as vault:
        flow = Flow(vault, config.gateway.public_url)
        try:
            async with listening(on_return, server.auth.callback_port) as redirect_uri:
                try:
                    begun.append(await flow.begin(key, _owner(), server.auth, redirect_uri, scopes=scopes))
                except AuthFailure as failure:
                    outcome.append(failure)
                else:
                    await _wait(ended, begun[0].link, no_browser, on_return)
        except OSError as error:
            outcome.append(AuthFailure(f"the browser cannot come back here ({error.strerror})"))
    _report(name, outcome)


async def _wait(ended: "Event", link: str, no_browser: bool, on_return: "OnReturn") -> None:
    import anyio

    async with anyio.create_task_group() as tg:
        tg.start_soon(_show, link, no_browser, on_return)
        with anyio.move_on_after(WAIT_SECONDS):
            await ended.wait()
            await anyio.sleep(PAGE_SECONDS)
        tg.cancel_scope.cancel()


def _report(name: str, outcome: "list[Login | AuthFailure]") -> None:
    from gateway.logins.failures import AuthFailure

    if not outcome:
        fail(f"nobody logged in to {name!r} within {WAIT_SECONDS / 60:.0f} minutes", Exit.FOUND)
    (result,) = outcome
    if isinstance(result, AuthFailure):
        fail(f"cannot log in to {name!r}: {harmless(str(result))}", Exit.FOUND)
    granted = f", with {harmless(', '.join(result.scopes))}" if result.scopes else ""
    click.echo(f"{mark('ok')} Logged in to {bold(name)} at {harmless(result.issuer)}{granted}.", err=True)


async def _complete(
    flow: "Flow", begun: "Begun", query: Mapping[str, str], auth: "AuthConfig"
) -> "Login | AuthFailure | None":
    """How it ended; None if what came back is not of this login, which goes on."""
    import secrets

    from gateway.errors import StoreUnavailable
    from gateway.logins.failures import AuthFailure

    if not secrets.compare_digest(query.get("state", "").encode(), begun.pending.state.encode()):
        return None
    try:
        return await flow.complete(begun.pending, query, auth)
    except AuthFailure as failure:
        return failure
    except (OSError, StoreUnavailable) as error:
        return AuthFailure(f"it cannot be kept ({error})")


async def _show(link: str, no_browser: bool, on_return: "OnReturn") -> None:
    from gateway.blocking import in_thread

    if not no_browser and _has_browser() and await in_thread(webbrowser.open, link):
        click.echo("Go on in the browser. If it did not open, here is the link:", err=True)
        click.echo(link)
        return
    click.echo("Open this link, and log in:", err=True)
    click.echo(link)
    click.echo("Then paste the address that the browser ends at, unless this command goes on by itself:", err=True)
    while line := await in_thread(sys.stdin.readline):
        if query := dict(parse_qsl(urlsplit(line.strip()).query, keep_blank_values=True)):
            if await on_return(query) is None:
                click.echo("That belongs to another login. Paste the whole address.", err=True)
                continue
            return


def _has_browser() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER"))


def _owner() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody on this machine"
