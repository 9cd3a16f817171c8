"""An authorization server of the tests' own that signs and verifies with real keys: client credentials, token exchange
(RFC 8693), ID-JAG and the JWT bearer grant (RFC 7523); with an MCP server behind it, as `Authority` has one."""

import time
import uuid
from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import jwt

from tests.logins.authority import Answer, Authority
from tests.oauth.local_issuer import SigningKey, signing_key
from tests.upstream.ends import ByteServer, Got, byte_server

GRANTS: Final = "urn:ietf:params:oauth:grant-type:"
TYPES: Final = "urn:ietf:params:oauth:token-type:"
SECRET: Final = "a secret of the gateway"


class Refused(Exception):
    """`error` of RFC 6749, 5.2."""


@dataclass
class Signing(Authority):
    """`Authority`, whose tokens are JWTs."""

    key: SigningKey = field(default_factory=lambda: signing_key("realm", "ES256"))
    client_keys: dict[str, Any] = field(default_factory=dict[str, Any])
    """Client → its public key; the others have `SECRET`."""
    trusted: dict[str, SigningKey] = field(default_factory=dict[str, SigningKey])
    """Issuer → the key with which it signs assertions."""
    requests: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """What the token endpoint was asked, with `client`: who proved to ask."""
    seen: set[str] = field(default_factory=set[str])
    """`jti` of assertions: each is good once."""
    gives_back: bool = False
    """Whether an exchange gives back what it was given."""

    def metadata(self, got: Got) -> Answer:
        status, content = super().metadata(got)
        methods = ["client_secret_basic", "private_key_jwt"]
        return status, {
            **content,
            "jwks_uri": f"{self.origin}/jwks",
            "token_endpoint_auth_methods_supported": methods,
        }

    def bearer(self, subject: str = "alice", audience: str = "https://gateway.example/mcp", **claims: Any) -> str:
        """A token as agents come with one."""
        return self._signed(sub=subject, aud=audience, scope="read write", **claims)

    def token(self, got: Got) -> Answer:
        form = {name: values[0] for name, values in parse_qs(got.body.decode(), strict_parsing=True).items()}
        try:
            client = self._client(got, form)
            self.requests.append({**form, "client": client})
            return "200 OK", self._grant(form, client)
        except (Refused, jwt.PyJWTError) as error:
            code = str(error) if isinstance(error, Refused) else "invalid_grant"
            return "400 Bad Request", {"error": code, "error_description": type(error).__name__}

    def _client(self, got: Got, form: dict[str, str]) -> str:
        if "client_assertion" in form:
            assert form["client_assertion_type"].endswith(":client-assertion-type:jwt-bearer")
            name = jwt.decode(form["client_assertion"], options={"verify_signature": False})["sub"]
            claims = self._verified(form["client_assertion"], self.client_keys[name], self.origin)
            assert claims["iss"] == claims["sub"] == name
            return name
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if "authorization" in got.headers:
            pair = b64decode(got.headers["authorization"].removeprefix("Basic ")).decode()
            name, secret = (unquote(part) for part in pair.split(":"))
        is_public = form["grant_type"] == f"{GRANTS}jwt-bearer" and not secret
        if secret != SECRET and not is_public:
            raise Refused("invalid_client")
        return name

    def _grant(self, form: dict[str, str], client: str) -> dict[str, Any]:
        match form["grant_type"].removeprefix(GRANTS):
            case "client_credentials":
                return self._access(client, form)
            case "token-exchange" if form.get("requested_token_type") == f"{TYPES}id-jag":
                return self._id_jag(form, client)
            case "token-exchange":
                subject = self._subject(form)
                if self.gives_back:
                    return {"access_token": form["subject_token"], "token_type": "Bearer"}
                more = {"issued_token_type": f"{TYPES}access_token"}
                return self._access(subject["sub"], form, act={"sub": client}) | more
            case "jwt-bearer":
                issuer = jwt.decode(form["assertion"], options={"verify_signature": False})["iss"]
                if issuer not in self.trusted:
                    raise Refused("invalid_grant")
                claims = self._verified(form["assertion"], self.trusted[issuer].private.public_key(), self.origin)
                if claims.get("client_id", client) != client:
                    raise Refused("invalid_grant")
                return self._access(claims["sub"], form)
            case _:
                raise Refused("unsupported_grant_type")

    def _subject(self, form: dict[str, str]) -> dict[str, Any]:
        assert form["subject_token_type"].startswith(TYPES)
        public = self.key.private.public_key()
        options: Any = {"verify_aud": False, "require": ["exp", "sub"]}
        return jwt.decode(form["subject_token"], public, ["ES256"], issuer=self.origin, options=options)

    def _id_jag(self, form: dict[str, str], client: str) -> dict[str, Any]:
        subject = self._subject(form)
        about = {"client_id": client, "resource": form["resource"]}
        given = self._signed("oauth-id-jag+jwt", sub=subject["sub"], aud=form["audience"], **about)
        return {"access_token": given, "issued_token_type": f"{TYPES}id-jag", "token_type": "N_A", "expires_in": 300}

    def _verified(self, assertion: str, public: Any, audience: str) -> dict[str, Any]:
        options: Any = {"require": ["exp", "iat", "jti", "sub", "iss", "aud"]}
        claims = jwt.decode(assertion, public, ["ES256", "RS256", "EdDSA"], audience=audience, options=options)
        if claims["jti"] in self.seen and "client_id" in claims:
            raise Refused("invalid_grant")
        self.seen.add(claims["jti"])
        return claims

    def _access(self, subject: str, form: dict[str, str], **claims: Any) -> dict[str, Any]:
        given = self._signed(sub=subject, aud=form.get("resource", self.url), scope=form.get("scope", ""), **claims)
        self.good.add(given)
        self.scopes[given] = set(form.get("scope", "").split())
        return {"access_token": given, "token_type": "Bearer", "expires_in": self.lifetime}

    def _signed(self, typ: str = "at+jwt", **claims: Any) -> str:
        now = int(time.time())
        fixed = {"iss": self.origin, "iat": now, "exp": now + 3600, "jti": str(uuid.uuid4())}
        return self.key.sign({**fixed, **claims}, typ=typ)

    def jwks(self, got: Got) -> Answer:
        return "200 OK", {"keys": [self.key.jwk]}


@asynccontextmanager
async def signing(**settings: Any) -> AsyncGenerator[tuple[Signing, ByteServer]]:
    """One that runs until the block ends."""
    script = Signing(**settings)
    async with byte_server(script) as server:
        script.url, script.origin = server.url, server.url.removesuffix("/mcp")
        script.on["/jwks"] = script.jwks
        yield script, server
