"""FastMCP servers that want a login, in the environment of `PYTHON_PACKAGES`.

    python fastmcp_logins.py remote|proxy PORT ISSUER

`remote` takes the tokens of that issuer itself; `proxy` is an authorization server of its own, with clients of its own,
and logs people in at that issuer.
"""

import sys

from fastmcp import FastMCP  # pyright: ignore[reportMissingImports]
from fastmcp.server.auth import OAuthProxy, RemoteAuthProvider  # pyright: ignore[reportMissingImports]
from fastmcp.server.auth.providers.jwt import JWTVerifier  # pyright: ignore[reportMissingImports]
from fastmcp.server.dependencies import get_access_token  # pyright: ignore[reportMissingImports]
from key_value.aio.stores.memory import MemoryStore  # pyright: ignore[reportMissingImports]
from pydantic import AnyHttpUrl

kind, port, issuer = sys.argv[1:4]
base = f"http://127.0.0.1:{port}"
own = f"{base}/mcp" if kind == "remote" else None
verifier = JWTVerifier(
    jwks_uri=f"{issuer}/jwks", issuer=issuer, audience=own, algorithm="ES256", required_scopes=["read"]
)
if kind == "remote":
    auth = RemoteAuthProvider(verifier, [AnyHttpUrl(issuer)], base)
else:
    auth = OAuthProxy(
        upstream_authorization_endpoint=f"{issuer}/auth",
        upstream_token_endpoint=f"{issuer}/token",
        upstream_revocation_endpoint=f"{issuer}/token/revocation",
        upstream_client_id="proxy",
        upstream_client_secret="a secret between the proxy and this server",
        token_verifier=verifier,
        base_url=base,
        client_storage=MemoryStore(),
    )
server = FastMCP("others", auth=auth)


@server.tool
def who() -> str:
    """Says who called."""
    token = get_access_token()
    return f"{token.claims.get('sub')} with {' '.join(token.scopes)}" if token else "nobody"


server.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False)
