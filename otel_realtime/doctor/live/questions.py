"""The questions that LangSmith's documentation leaves open; the page on limits uses the same ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

AnswerText = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question to settle.

    Attributes:
        id: its name, also on the page on limits.
        text: the question, to be answered with yes or no.
        needed: whether a part of a call would be lost or misplaced if the answer is no.
    """

    id: str
    text: str
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    Attributes:
        question: the question.
        text: ``yes``, ``no`` or ``unknown``.
        why: the observation; for ``unknown``, the reason.
    """

    question: Question
    text: AnswerText
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "id": self.question.id,
            "question": self.question.text,
            "answer": self.text,
            "why": self.why,
            "needed": self.question.needed,
        }


VISIBLE: Final = Question("visible", "Can a root be read that was posted and has not ended?")
PATCHED: Final = Question("patched", "Do end and outputs of a root's patch reach the run?")
ATTACHMENT: Final = Question(
    "attachment", "Is the recording attached that comes with a root's patch, byte for byte?"
)
CHILDREN: Final = Question("children", "Are spans that come by OTLP runs below a posted root?")
EARLY: Final = Question(
    "early-children", "Are spans that come before their root's post released by it?"
)
DOTTED: Final = Question(
    "dotted-order", "Is a dotted order a microsecond behind its run's start taken as it is?"
)
PROJECT: Final = Question(
    "project-attribute",
    "Does langsmith.trace.session_name win over the header Langsmith-Project?",
    needed=False,
)
METADATA: Final = Question(
    "metadata-kept", "Is metadata kept that a root's patch leaves out?", needed=False
)
OTLP_SIZE: Final = Question(
    "otlp-size", "Is an OTLP request taken that is as large as this package makes them (4 MB)?"
)
ATTACHMENT_SIZE: Final = Question(
    "attachment-size",
    "Is an attachment taken that is as large as max_attachment_mb allows?",
    needed=False,
)

QUESTIONS: Final = (
    VISIBLE,
    PATCHED,
    ATTACHMENT,
    CHILDREN,
    EARLY,
    DOTTED,
    PROJECT,
    METADATA,
    OTLP_SIZE,
    ATTACHMENT_SIZE,
)
