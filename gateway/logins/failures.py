"""What can go wrong between the gateway and an authorization server. `held` maps it to `GatewayError` for calls."""


class AuthFailure(Exception):
    """Base of them. The message says what happened, in words that may follow a colon, and names no secret."""


class Unreachable(AuthFailure):
    """Nobody knows: no answer, or one that says that it cannot be given now. What was granted is still good."""


class Distrusted(AuthFailure):
    """What a server or an authorization server says of itself must not be followed."""


class Denied(AuthFailure):
    """The authorization server said no.

    Args:
        code: the `error` of RFC 6749, 5.2; empty if it gave none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class NoLogin(AuthFailure):
    """Nobody has logged in yet, or what was granted is not enough or not good any more: somebody has to.

    Args:
        scopes: those that have to be granted, if what was is too little.
        is_usable: whether the tokens that there are may be used until their end, if nobody refuses them.
    """

    def __init__(self, message: str, scopes: tuple[str, ...] = (), *, is_usable: bool = False) -> None:
        super().__init__(message)
        self.scopes = scopes
        self.is_usable = is_usable
