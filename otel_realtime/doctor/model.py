"""The data model of the doctor: checks, their input, and their results."""

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
    """One finding of a check.

    Attributes:
        id: identifies it for scripts; the same in every version.
        title: what was examined.
        status: ``fail`` if a call started here would lose data, or break.
        seen: what was found.
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
        """Return the result without credentials."""
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
    """Who delivers one part of a conversation, and to which destination.

    Attributes:
        what: the part.
        by: who delivers it.
        to: the destination.
    """

    what: str
    by: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The input of all checks, which is read once.

    Attributes:
        env: the environment variables.
        settings: the settings that this package reads from them.
        config: the LangSmith configuration in them.
        heard: the warnings that an app would get when they are read.
        mask: removes credentials from output.
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
    """A check.

    Attributes:
        id: its name, also used in the result if it does not end in time.
        group: the heading of its results.
        look: runs the check and returns its findings; changes nothing.
    """

    id: str
    group: str
    look: Callable[[Surroundings], Iterable[Result]]


@dataclass(slots=True)
class Report:
    """The findings of all checks.

    Attributes:
        groups: heading -> results, in order.
        deliveries: who delivers what.
        verdict: what would happen to a call started here, in one sentence.
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
        """The results with status ``fail``."""
        return [result for result in self.results if result.status == "fail"]
