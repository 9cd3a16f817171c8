"""How long things take at upstreams that no setting changes: one value, handed on to whatever waits."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class UpstreamTiming:
    """Durations, in seconds."""

    # --- A connection (link.py, backoff.py) -------------------------------------------------------------------------

    backoff_base_seconds: float = 0.5
    """How long it takes until the first attempt after a failure; twice as long for each that follows, …"""
    backoff_max_seconds: float = 60.0
    """… but no longer than this."""
    stable_seconds: float = 30.0
    """A connection that lived this long was a good one; the next failure starts from the beginning."""
    renew_seconds: float = 1.0
    """How often at most a lost session is opened anew without waiting: an upstream that loses each at once must not be
    dialled in a tight loop."""
    login_seconds: float = 300.0
    """How often it is tried whether a login is needed still."""
    soon_seconds: float = 1.0
    """An attempt to connect that is due within this time is worth waiting for."""
    question_stream_seconds: float = 1.0
    """How long an upstream that may ask us something has to open its standing stream, before its first request."""

    # --- Connections of somebody's own (private.py) -----------------------------------------------------------------

    private_idle_seconds: float = 300.0
    """How long an identity's connection outlives its last request; nobody tells us when an identity has gone."""
    lasting_idle_seconds: float = 1800.0
    """How long the connection of an agent that is still there outlives its last request."""

    # --- What it offers (watch.py, lister.py, learning.py, listen.py) -----------------------------------------------

    own_lists_seconds: float = 30.0
    """How long lists of somebody's own are taken to be true if nothing is heard of them (personal.py)."""
    debounce_seconds: float = 0.05
    """Changes that come in a burst are fetched once."""
    list_retry_seconds: float = 30.0
    """How soon a list that could not be fetched is asked for again."""
    check_seconds: float = 5.0
    """How long an upstream we have reason to doubt may take to show that it is there."""
    hearing_seconds: float = 1.0
    """How long the first listing waits until changes are heard. If that takes longer, everything is fetched again."""
    list_seconds: float = 120.0
    """How long the pages of one list may take to fetch."""
    min_ttl_seconds: float = 1.0
    """Lists are not fetched more often than this, however small the upstream's `ttlMs`."""
    variant_linger_seconds: float = 2.0
    """How long a connection that was opened for its lists stays for what it may say after the first listing."""
    acknowledge_seconds: float = 10.0
    """How long a change of what is listened to waits for the upstream to say that it has taken it up."""
    relisten_seconds: float = 0.05
    """How often what a stream is for changes, at most; the more it is, the less often."""

    # --- HTTP (transport/) ------------------------------------------------------------------------------------------

    idle_seconds: float = 4.0
    """How long a connection is kept for reuse: less than the 5 s after which common servers close theirs, so that a
    request is not written into a connection that is just being closed."""
    note_seconds: float = 10.0
    """How long the upstream may take to accept a message that is owed no answer."""
    farewell_seconds: float = 1.0
    """How long it may take to hear that its session is over."""
    leave_seconds: float = 5.0
    """How long requests that are under way may be answered when no proof of who we are is left."""
    linger_seconds: float = 1.0
    """How long a stream may stay open after its answer before we close it."""
    resume_seconds: float = 1.0
    """How long to wait before a broken stream is taken up again, unless the upstream says otherwise, …"""
    min_resume_seconds: float = 0.1
    max_resume_seconds: float = 30.0
    """… within these bounds: it shall neither be dialled in a tight loop nor keep us asleep for days."""

    # --- Programs (transport/process.py, guardian.py) ---------------------------------------------------------------

    exit_seconds: float = 2.0
    """How long a child may take to leave after its stdin closed, and again after SIGTERM."""
    last_words_seconds: float = 0.1
    """Between the exit of a child and the failure of its calls: the time to hear what it still said."""
    guardian_check_seconds: float = 1.0
    """How often it is looked whether the guardian still lives, and whether orphans are to be reaped."""


USUAL: Final = UpstreamTiming()
"""What everybody uses but for tests."""
