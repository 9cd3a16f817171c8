"""From a server's `auth` to the grant of a machine, for one principal or for the gateway itself."""

from collections.abc import Callable, Mapping

from gateway.config.models import ServerConfig
from gateway.config.models.auth import ClientCredentials, Enterprise, IdentityProvider, TokenExchange
from gateway.logins.grants import TokenGrant
from gateway.logins.machines import ClientCredentialsGrant, Finder, Identity, NamedServer, Where
from gateway.logins.machines_bearer import EnterpriseGrant, WorkloadGrant, of_file, principals_own
from gateway.logins.machines_exchange import Never, TokenExchangeGrant, no_subject
from gateway.logins.subjects import Subjects
from gateway.logins.web import Web
from gateway.request import Principal

Record = Callable[[Principal | None, Mapping[str, str]], None]
"""`(whose, what)`: told of each exchange."""


def machine_grant(
    server: ServerConfig, principal: Principal | None, subjects: Subjects, agents_issuer: str | None, record: Record
) -> TokenGrant:
    """
    Args:
        principal: whose connection it is for; None for the gateway's own, which has the gateway's own credential.
        agents_issuer: who issues the tokens that agents come with.
    """
    auth, url = server.auth, server.url or ""
    if (config := auth.client_credentials) is not None:
        web = _web(url, config.issuer, config.token_endpoint)
        where = Where(web, url, config.issuer, config.token_endpoint)
        return ClientCredentialsGrant(_identity(config), where, config.scopes, config.audience)
    if (workload := auth.workload) is not None:
        web = _web(url, workload.issuer, workload.token_endpoint)
        where = Where(web, url, workload.issuer, workload.token_endpoint)
        return WorkloadGrant(
            workload.token_file,
            where,
            client_id=workload.client_id,
            scopes=workload.scopes,
            audience=workload.audience,
        )
    if (exchange := auth.token_exchange) is not None:
        return _exchange(exchange, url, principal, subjects, agents_issuer, record)
    assert auth.enterprise is not None
    return _enterprise(auth.enterprise, url, principal, subjects, record)


def _exchange(
    config: TokenExchange,
    url: str,
    principal: Principal | None,
    subjects: Subjects,
    agents_issuer: str | None,
    record: Record,
) -> TokenGrant:
    issuer = config.issuer or config.token_endpoint or agents_issuer
    if issuer is None:
        return Never("nobody could exchange tokens: set token_exchange.issuer, or gateway.auth.oauth")
    where = NamedServer(_web(url, issuer, config.token_endpoint), url, issuer, config.token_endpoint)
    identity = _identity(config)
    if principal is None:
        return _own(identity, where, config.scopes, config.audience, config.resource)
    if principal.method != "oauth":
        return no_subject(principal.method)
    return TokenExchangeGrant(
        principal.id,
        subjects,
        identity,
        where,
        subject_type=config.subject_token_type,
        scopes=config.scopes,
        audience=config.audience,
        resource=config.resource,
        record=lambda what: record(principal, what),
    )


def _enterprise(
    config: Enterprise, url: str, principal: Principal | None, subjects: Subjects, record: Record
) -> TokenGrant:
    idp = config.idp
    where = Where(_web(url, config.issuer), url, config.issuer)
    identity = Identity(
        config.client_id or idp.client_id,
        config.client_secret if config.client_id is not None else config.client_secret or idp.client_secret,
        config.private_key_file or (idp.private_key_file if config.client_id is None else None),
        config.key_id or (idp.key_id if config.client_id is None else None),
    )
    if idp.id_token_file is not None:
        subject, kind = of_file(idp.id_token_file), "id_token"
    elif principal is None:
        return _own(identity, where, config.scopes)
    elif principal.method != "oauth":
        return no_subject(principal.method)
    else:
        subject, kind = principals_own(subjects, principal.id), idp.subject_token_type
    return EnterpriseGrant(
        subject,
        subject_type=kind,
        idp=NamedServer(_web(idp.issuer, idp.token_endpoint), url, idp.issuer, idp.token_endpoint),
        at_idp=_identity(idp),
        where=where,
        identity=identity,
        scopes=config.scopes,
        record=lambda what: record(principal, what),
    )


def _own(
    identity: Identity, where: Finder, scopes: list[str], audience: str | None = None, resource: str | None = None
) -> TokenGrant:
    """What the gateway asks by itself (which tools there are), it asks in its own name."""
    if identity.client_secret is None and identity.private_key_file is None:
        return Never("the gateway itself has no credential there: give it `client_secret` or `private_key_file`")
    return ClientCredentialsGrant(identity, where, scopes, audience, resource)


def _identity(config: TokenExchange | IdentityProvider | ClientCredentials) -> Identity:
    algorithm = config.algorithm if isinstance(config, ClientCredentials) else None
    return Identity(config.client_id, config.client_secret, config.private_key_file, config.key_id, algorithm)


def _web(*urls: str | None) -> Web:
    """What may go where the file leads, and to public hosts."""
    return Web.for_urls([url for url in urls if url])
