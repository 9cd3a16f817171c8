"""`mcp-gateway can`: may somebody use something, and why (not)?"""

import sys
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Exit, configure_logs, with_config

if TYPE_CHECKING:
    from gateway.access.policy import PolicyVerdict
    from gateway.catalogue.catalogue import Catalogue
    from gateway.config.models import Config
    from gateway.request import Principal


@click.command("can")
@click.argument("who")
@click.argument("what")
@with_config
def command(config: "Config", who: str, what: str) -> None:
    """Explain whether WHO may use WHAT.

    WHO is the owner or the id of an API key, or a selector as in a policy: owner:NAME, key:ID, oauth:ISSUER|SUBJECT,
    group:NAME, agent:NAME. WHAT is a public name such as github__create_issue, or the URI of a resource. Exits with 0
    for yes and 1 for no.
    """
    from gateway.access.configured import rules
    from gateway.access.policy import Policy

    configure_logs(config, at_least="error")
    policy = Policy(rules(config))
    upstream = _upstream_of(config, what)
    if not upstream:
        click.echo(f"No server is known to have {what!r}; what follows goes by its name alone.", err=True)
    verdicts = [(principal, policy.grant(principal).explain(upstream, what)) for principal in _principals(config, who)]
    for principal, verdict in verdicts:
        reason = _sentence(verdict, principal, upstream)
        click.echo(f"{'yes' if verdict.allowed else 'no'}   {_described(principal)}: {reason}")
    sys.exit(Exit.FINE if all(verdict.allowed for _, verdict in verdicts) else Exit.FOUND)


def _sentence(verdict: "PolicyVerdict", principal: "Principal", upstream: str) -> str:
    if not upstream and principal.upstreams is not None:
        return "its credential is for some servers only, and none is known to have it"
    if verdict.allowed and "write" not in principal.scopes:
        return f"{verdict.reason}, but without the scope `write` a tool can be seen and not called"
    return verdict.reason


def _described(principal: "Principal") -> str:
    return f"{principal.owner} ({principal.id})" if principal.method == "api_key" else principal.id


def _principals(config: "Config", who: str) -> "list[Principal]":
    """The keys of that owner or id; without any, somebody of that name with nothing but the policy against them."""
    from gateway.access import key_file
    from gateway.access.api_keys import principal_of
    from gateway.access.policy import parse_selector
    from gateway.request import Principal

    kind, name = parse_selector(who)
    match kind:
        case "group":
            return [Principal(who, groups=frozenset({name}))]
        case "agent":
            return [Principal(who, agent_name=name)]
        case "oauth":
            return [Principal(who)]
        case _:
            pass
    file = config.gateway.auth.api_keys_file
    entries = key_file.load(file).entries if file is not None and file.exists() else ()
    owned = [
        entry
        for entry in entries
        if (kind == "owner" and name == entry.owner) or (who != f"owner:{name}" and name == entry.id)
    ]
    return [principal_of(entry) for entry in owned] or [Principal(who, owner=name if kind == "owner" else "")]


def _upstream_of(config: "Config", what: str) -> str:
    """The owner of a public name: by the catalogue as last seen, else by the prefix of the name."""
    from gateway.catalogue.library import CatalogueViews
    from gateway.catalogue.naming import SEPARATOR, public_prefix
    from gateway.cli.doctor.memory import remembered

    library = CatalogueViews(config.enabled, config.prefix)
    library.update(remembered(config).items())
    catalogue: Catalogue = library.whole(None)
    owner = (
        catalogue.tool(what)
        or catalogue.prompt(what)
        or catalogue.resource(what)
        or catalogue.template(what)
        or catalogue.unlisted(what)
    )
    if owner is not None:
        return owner.upstream
    by_prefix = [name for name in config.enabled if what.startswith(public_prefix(name) + SEPARATOR)]
    return by_prefix[0] if by_prefix else ""
