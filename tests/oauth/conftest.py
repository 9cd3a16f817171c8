"""One authorization server for all tests of the folder; none leaves anything behind there that another would notice."""

from collections.abc import Generator

import pytest

from tests.oauth.authorization_server import AuthorizationServer, authorization_server
from tests.public.packages import OutOfReach


@pytest.fixture(scope="session")
def issuer() -> Generator[AuthorizationServer]:
    try:
        with authorization_server() as server:
            yield server
    except OutOfReach as error:
        pytest.skip(f"needs npm's oidc-provider: {error}")
