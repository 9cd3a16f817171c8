"""Who may use what: allowed upstreams, scopes, and the rules of the configuration. Pure, and able to say why.

Rules are globs over public names (tools, prompts) and public URIs (resources), case-sensitive. Of those that concern a
principal: any `deny` that matches decides; else, if any of them has an `allow`, one of those must match; else it is
allowed. Whom no rule concerns may use whatever its credential lets it.

Whom a rule is about is said by typed selectors: an owner, a group and an id live in spaces of their own, so that no
text an identity provider makes up can be taken for something else.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from glob import escape
from typing import Final

from gateway.access.profiles import ALL, Profile
from gateway.access.spellings import glob_forms, may_match_uris, normal_form, spellings
from gateway.catalogue.intake import Kind
from gateway.request import Principal

EVERYBODY: Final = "*"
TYPES: Final = frozenset({"owner", "key", "oauth", "group", "agent"})
"""What a selector can be about, as `TYPE:GLOB`; without a type it is about owners."""


def parse_selector(text: str) -> tuple[str, str]:
    """`(type, glob)` of one entry of `who`."""
    kind, colon, glob = text.partition(":")
    return (kind, glob) if colon and kind in TYPES else ("owner", text)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of `gateway.policy`."""

    who: tuple[str, ...]
    """Selectors: `*` is everybody; `owner:GLOB` or just a glob, `key:ID`, `oauth:ISSUER|SUBJECT`, `group:NAME` and
    `agent:NAME`, globs all."""
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    def concerns(self, principal: Principal) -> bool:
        """Whether it is about the principal, whatever it calls itself: an agent is whoever registered it."""
        kind, _, own = principal.root_id.partition(":")
        names: dict[str, Collection[str]] = {"owner": [principal.owner] if principal.owner else []}
        if kind in ("key", "oauth"):
            names[kind] = [own]
        return EVERYBODY in self.who or self._matches(names | {"group": principal.groups})

    def may_concern(self, principal: Principal) -> bool:
        """Whether it is about groups, and not all of the principal's are known."""
        return principal.groups_cut and any(parse_selector(who)[0] == "group" for who in self.who)

    def concerns_agent(self, principal: Principal) -> bool:
        """Whether it is about agents of that name. Agents choose their names, so such a rule can only take away."""
        names = [principal.agent_name, principal.id.removeprefix("agent:")]
        return bool(principal.agent_name) and self._matches({"agent": names})

    def _matches(self, names: Mapping[str, Collection[str]]) -> bool:
        selectors = map(parse_selector, self.who)
        return any(fnmatchcase(name, glob) for kind, glob in selectors for name in names.get(kind, ()))


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """A decision and its reason, in words for the owner of the gateway (agents never see it)."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Everything about a principal that decides what it sees. Equal grants see equal catalogues."""

    upstreams: frozenset[str] | None = None
    rules: tuple[tuple[int, Rule], ...] = ()
    """Those that concern it, with their place in the configuration, from 1."""
    agent_rules: tuple[tuple[int, Rule], ...] = ()
    """Those that concern its name as an agent: what the others allow, these must allow too."""
    doubtful_rules: tuple[tuple[int, Rule], ...] = ()
    """Those that may concern it, for not all its groups are known: they take away, and give nothing."""
    profiles: tuple[Profile, ...] | None = None
    """It sees what any of these has; None: no profile limits it."""

    @property
    def _is_ruled(self) -> bool:
        return bool(self._all_rules) or self.profiles is not None

    @property
    def unrestricted(self) -> bool:
        return self.upstreams is None and not self._is_ruled

    @property
    def is_shut(self) -> bool:
        """Whether its credential is for other profiles than there are, or than the one that it looks at."""
        return self.profiles == ()

    @property
    def within(self) -> Hashable:
        """What decides which items of an upstream may be used; None: whoever sees the upstream sees all."""
        return (self.rules, self.agent_rules, self.doubtful_rules, self.profiles) if self._is_ruled else None

    def sees_upstream(self, upstream: str) -> bool:
        if self.upstreams is not None and upstream not in self.upstreams:
            return False
        return self.profiles is None or any(profile.has_server(upstream) for profile in self.profiles)

    def sees_all_of(self, upstream: str) -> bool:
        """Whether nothing that the upstream offers is hidden, whatever it may come to offer."""
        return self.sees_upstream(upstream) and not self._is_ruled

    def explain(self, upstream: str, public: str, kind: Kind | None = None, own: str = "") -> PolicyVerdict:
        """Whether the item of that public name or URI may be used, and why.

        Args:
            kind: what it is, as far as that is known.
            own: its URI as the upstream knows it.
        """
        if self.upstreams is not None and upstream not in self.upstreams:
            return PolicyVerdict(False, f"its credential does not include upstream {upstream!r}")
        if self.profiles is not None:
            names = (public, own) if own and kind not in ("tools", "prompts", None) else (public,)
            if not any(profile.admits(kind, upstream, names) for profile in self.profiles):
                those = ", ".join(profile.name for profile in self.profiles)
                return PolicyVerdict(False, f"no profile of its credential has it ({those})" if those else NO_PROFILE)
        verdict = _decide(self.rules, public)
        if verdict.allowed and self.doubtful_rules:
            verdict = self._decide_in_doubt(public, verdict)
        return _decide(self.agent_rules, public) if verdict.allowed and self.agent_rules else verdict

    def _decide_in_doubt(self, public: str, verdict: PolicyVerdict) -> PolicyVerdict:
        """What is left of a verdict whichever of the doubtful rules concern the principal: with an `allow` that surely
        concerns it those of others could only add to it, without one each could be all it has."""
        is_allowed_surely = any(rule.allow is not None for _, rule in self.rules)
        for number, rule in self.doubtful_rules:
            sure = Rule(rule.who, None if is_allowed_surely else rule.allow, rule.deny)
            doubt = _decide([(number, sure)], public)
            if not doubt.allowed:
                return PolicyVerdict(False, f"{doubt.reason}, and not all groups of the token are known")
        return verdict

    def admits(self, upstream: str, public: str, kind: Kind | None = None, own: str = "") -> bool:
        return self.explain(upstream, public, kind, own).allowed

    def admits_uri(self, upstream: str, own: str, public: Sequence[str], *, is_listed: bool) -> bool:
        """Whether an upstream's URI may be used, by all names that it has.

        What the upstream listed is taken as it is written. Any other URI, if a rule is about URIs, must be allowed as
        written and in normal form, must have one, and no other spelling of it may be denied.

        Args:
            own: as the upstream knows it.
            public: as agents do; by the first it must be allowed, and none may be denied.
        """
        if self.profiles is not None:
            bare = replace(self, profiles=None)
            return any(
                _of_uris(profile).admits_uri(upstream, own, public, is_listed=is_listed)
                for profile in self.profiles
                if profile.has_server(upstream)
            ) and bare.admits_uri(upstream, own, public, is_listed=is_listed)
        if not self.admits(upstream, public[0]) or any(self.denies(each) for each in (own, *public)):
            return False
        if is_listed or not self._is_about_uris:
            return True
        forms = [normal_form(each) for each in (own, *public)]
        if None in forms or not self.admits(upstream, str(forms[1])):
            return False
        return not any(self.denies(spelling) for each in (own, *public) for spelling in spellings(each))

    def denies(self, public: str) -> bool:
        """Whether a rule denies it, whatever upstream it belongs to. A glob for URIs means all spellings of itself."""
        return any(
            fnmatchcase(public, glob) for _, rule in self._all_rules for each in rule.deny for glob in glob_forms(each)
        )

    @property
    def _all_rules(self) -> tuple[tuple[int, Rule], ...]:
        return (*self.rules, *self.agent_rules, *self.doubtful_rules)

    @property
    def _is_about_uris(self) -> bool:
        return any(may_match_uris(glob) for _, rule in self._all_rules for glob in (*rule.deny, *(rule.allow or ())))


@lru_cache(maxsize=256)
def _of_uris(profile: Profile) -> Grant:
    """What a profile says of URIs, as a rule: any other spelling of what it hides is hidden too."""
    globs = profile.resources
    return Grant(rules=((1, Rule((EVERYBODY,), None if globs.allow == ALL else globs.allow, globs.deny)),))


def _decide(rules: Sequence[tuple[int, Rule]], public: str) -> PolicyVerdict:
    for number, rule in rules:
        for glob in rule.deny:
            if fnmatchcase(public, glob):
                return PolicyVerdict(False, f"policy rule {number} denies {glob!r}")
    allowing = [(number, rule.allow) for number, rule in rules if rule.allow is not None]
    for number, allow in allowing:
        for glob in allow:
            if fnmatchcase(public, glob):
                return PolicyVerdict(True, f"policy rule {number} allows {glob!r}")
    if allowing:
        numbers = ", ".join(str(number) for number, _ in allowing)
        return PolicyVerdict(False, f"no `allow` of policy rule {numbers} matches it")
    return PolicyVerdict(True, "nothing forbids it")


MAX_REMEMBERED: Final = 4096
NO_PROFILE: Final = "its credential is for profiles that there are not"


class Policy:
    """The rules of the configuration, and its profiles."""

    def __init__(self, rules: Sequence[Rule] = (), profiles: Mapping[str, Profile] | None = None) -> None:
        self._grants: dict[Principal, Grant] = {}
        self._through: dict[tuple[Principal, str], Grant] = {}
        self.revision = 0
        """Another number after each change of the rules."""
        self.use(rules, profiles)

    def use(self, rules: Sequence[Rule], profiles: Mapping[str, Profile] | None = None) -> None:
        """From now on these are the rules. Grants given before keep to those they were made of."""
        self._rules = tuple(enumerate(rules, 1))
        self._profiles = dict(profiles or {})
        self._grants.clear()
        self._through.clear()
        self.revision += 1

    def grant(self, principal: Principal, view: str | None = None) -> Grant:
        """What a principal may see, in a view. Remembered: it is asked for several times a request."""
        if view is not None and view in self._profiles:
            return self._grant_through(principal, view)
        grant = self._grants.get(principal)
        if grant is None:
            rules = tuple(each for each in self._rules if each[1].concerns(principal))
            agent_rules = tuple(each for each in self._rules if each not in rules and each[1].concerns_agent(principal))
            doubtful = tuple(each for each in self._rules if each not in rules and each[1].may_concern(principal))
            upstreams, profiles = self._limits_of(principal)
            grant = Grant(upstreams, rules, agent_rules, doubtful, profiles)
            if len(self._grants) >= MAX_REMEMBERED:
                self._grants.clear()
            self._grants[principal] = grant
        return grant

    def _grant_through(self, principal: Principal, name: str) -> Grant:
        """What it sees of a profile; nothing, if its credential is for others."""
        grant = self._through.get((principal, name))
        if grant is None:
            whole = self.grant(principal)
            profile = self._profiles[name]
            mine = whole.profiles is None or profile in whole.profiles
            grant = replace(whole, profiles=(profile,) if mine else ())
            if len(self._through) >= MAX_REMEMBERED:
                self._through.clear()
            self._through[principal, name] = grant
        return grant

    def _limits_of(self, principal: Principal) -> tuple[frozenset[str] | None, tuple[Profile, ...] | None]:
        """The upstreams and the profiles that its credential is for."""
        upstreams, profiles = principal.upstreams, self._profiles
        if principal.method == "oauth" and upstreams is not None and not upstreams.isdisjoint(profiles):
            # A token that was issued for `/mcp/NAME` names a profile where others name an upstream.
            others = tuple(Profile(name, (escape(name),)) for name in sorted(upstreams - profiles.keys()))
            return None, (*(profiles[name] for name in profiles if name in upstreams), *others)
        if principal.profiles is None:
            return upstreams, None
        return upstreams, tuple(profile for name, profile in profiles.items() if name in principal.profiles)
