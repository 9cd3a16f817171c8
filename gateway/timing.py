"""All durations that are the gateway's own, room by room. Those of users are settings."""

from dataclasses import dataclass, field
from typing import Final

from gateway.bridge.timing import BridgeTiming
from gateway.catalogue.timing import CatalogueTiming
from gateway.frontend.timing import FrontTiming
from gateway.logins.timing import LoginTiming
from gateway.upstream.timing import UpstreamTiming


@dataclass(frozen=True, slots=True)
class Timing:
    """What `Gateway` hands to the rooms. Tests make one whose waits are short."""

    upstream: UpstreamTiming = field(default_factory=UpstreamTiming)
    bridge: BridgeTiming = field(default_factory=BridgeTiming)
    catalogue: CatalogueTiming = field(default_factory=CatalogueTiming)
    front: FrontTiming = field(default_factory=FrontTiming)
    logins: LoginTiming = field(default_factory=LoginTiming)


USUAL: Final = Timing()
