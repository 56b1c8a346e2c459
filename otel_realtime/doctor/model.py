"""What a check finds, and what all checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from otel_realtime.diagnostics import Said
from otel_realtime.doctor.masking import Mask
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.settings import Settings

Status = Literal["ok", "info", "warn", "fail"]
#: From the best to the worst.
STATUSES: Final[tuple[Status, ...]] = ("ok", "info", "warn", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One fact.

    Attributes:
        id: names it for scripts; the same in every version.
        title: what was looked at.
        status: ``fail`` if a call started here would lose something, or break.
        seen: what is there.
        effect: what that means for a call.
        fix: what to do about it.
    """

    id: str
    title: str
    status: Status
    seen: str
    effect: str = ""
    fix: str = ""

    def masked(self, mask: Mask) -> Result:
        """Return it without credentials."""
        return Result(
            id=self.id,
            title=mask(self.title),
            status=self.status,
            seen=mask(self.seen),
            effect=mask(self.effect),
            fix=mask(self.fix),
        )

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Who delivers one part of a conversation, and where to.

    Attributes:
        what: the part.
        by: who.
        to: where.
    """

    what: str
    by: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all checks look at; read once.

    Attributes:
        env: the environment.
        settings: what this package reads of it.
        config: LangSmith's part of it.
        heard: what an app would be warned of when they are read.
        mask: takes credentials out of what is shown.
        timeout_s: time that a check has, in seconds.
    """

    env: Mapping[str, str]
    settings: Settings
    config: LangSmithConfig
    heard: tuple[Said, ...]
    mask: Mask
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that is looked at.

    Attributes:
        id: names it, also where it does not end in time.
        group: heading it stands under.
        look: returns what it finds; changes nothing.
    """

    id: str
    group: str
    look: Callable[[Surroundings], Iterable[Result]]


@dataclass(slots=True)
class Report:
    """What all checks found.

    Attributes:
        groups: heading -> results, in order.
        deliveries: who delivers what.
        verdict: what a call started here would do, in one sentence.
    """

    groups: dict[str, list[Result]] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    verdict: str = ""

    @property
    def results(self) -> list[Result]:
        """All results."""
        return [result for results in self.groups.values() for result in results]

    @property
    def failed(self) -> list[Result]:
        """Those because of which something would be lost or break."""
        return [result for result in self.results if result.status == "fail"]
