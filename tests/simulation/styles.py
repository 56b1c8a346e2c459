"""What real clients are like: how they send, how they play, what they do when the user breaks in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.simulation.microphone import CLIP, GATED, HELD, MUTED, OPEN, RELEASE
from tests.simulation.player import Buffering, Sounded
from tests.simulation.sound import SPEECH_DB


@dataclass(frozen=True)
class Moment:
    """What a client knows when it stops its player.

    Attributes:
        at: now, ms.
        item: the item that it takes to be playing: the last one that arrived, or the one it hears.
        first_at: arrival of that item's first audio.
        received: ms of it that have arrived.
        played: ms of it that have come out of the speaker.
    """

    at: float
    item: str
    first_at: float
    received: float
    played: float


Claim = Callable[[Moment], "int | None"]


@dataclass(frozen=True)
class Pace:
    """How audio comes over the network.

    Attributes:
        chunk_ms: of audio in a delta.
        speed: times real time.
        jitter: how often a chunk is held up by 30 to 150 ms, and those behind it with it.
    """

    chunk_ms: float = 250.0
    speed: float = 5.0
    jitter: float = 0.0


#: A player that begins late, nobody knows by how much.
LATE = Buffering((0.0, 400.0))
#: What the service does.
FAST = Pace()


@dataclass(frozen=True)
class Style:
    """One kind of client.

    Attributes:
        claim: ``audio_end_ms`` of its truncate; None: it sends none.
        knows_player: it takes the item that really plays, not the last one that arrived.
        flushes: it stops its player.
        cancels: it sends ``response.cancel`` when the user breaks in.
        tap: ``played``, ``marks``, ``audio``, ``audio+items``, or nothing.
        late: how often a callback of its device comes 25 to 55 ms late, alone or twice in a row.
        reaction: ms from the break-in until its player is silent, at least and at most.
        deletes: it deletes an item of which nothing was played.
        sends: how the microphone's audio is sent.
        detects: the server finds speech in it, where that can be; else the client commits it.
        hangs_up: how often the call ends while the agent speaks.
        buffering: of its player.
        pace: of the network.
        voice_db: how loud its user speaks.
        noise_db: the noise of its line; None: digital silence.
        replayed: it is no live call: its log is told afterwards, by hand and as fast as it goes.
    """

    name: str
    claim: Claim = lambda moment: None
    knows_player: bool = True
    flushes: bool = True
    cancels: bool = False
    tap: str = ""
    late: float = 0.0
    reaction: tuple[float, float] = (0.0, 20.0)
    deletes: bool = False
    sends: str = OPEN
    detects: bool = True
    hangs_up: float = 0.3
    buffering: Buffering = LATE
    pace: Pace = FAST
    voice_db: float = SPEECH_DB
    noise_db: float | None = None
    replayed: bool = False

    @property
    def listens(self) -> bool:
        """Whether the server listens for speech."""
        return self.detects and self.sends in (OPEN, MUTED, CLIP)


def _elapsed(moment: Moment) -> int:
    return int(moment.at - moment.first_at)


def _clamped(moment: Moment) -> int | None:
    elapsed = _elapsed(moment)
    return None if elapsed >= moment.received else elapsed


def _played(moment: Moment) -> int:
    return int(moment.played)


#: A server that generates hardly faster than it is heard, over a network that holds up chunks.
NEAR_LIVE = Pace(60.0, 1.3, 0.08)
ADAPTIVE = Buffering((20.0, 20.0), 40.0, adaptive=True)
CONSOLE = Style("console: worklet's sample count", _played)
SPEAKER = Style("speaker's buffers", tap="audio")
NAMED = Style("speaker's buffers, with items", _played, tap="audio+items")

CLIENTS: Sequence[Style] = (
    CONSOLE,
    Style("push-to-talk app: cancel, plays on", flushes=False, sends=RELEASE, hangs_up=0.0),
    Style("agents: wall clock", _clamped, knows_player=False),
    Style("agents: playback tracker", _played, tap="played"),
    Style("twilio: marks by the helper", tap="marks", reaction=(40.0, 80.0)),
    Style("twilio: marks, agents claim", lambda m: int(m.played // 250 * 250), tap="marks"),
    Style("twilio: inbound clock", _elapsed, knows_player=False, reaction=(40.0, 80.0)),
    Style(
        "pipecat: wall clock or received",
        lambda m: int(min(_elapsed(m), m.received)),
        knows_player=False,
    ),
    Style("livekit: playout position", lambda m: int(m.played) or None, deletes=True),
    Style("pydantic-ai: caller's played_ms", _played, reaction=(0.0, 60.0)),
    Style("stop at speech_started, no word"),
    SPEAKER,
    NAMED,
)
BUFFERS: Sequence[Style] = (
    *(
        Style(f"begins {ms:.0f} ms after the first", _played, buffering=Buffering((ms, ms)))
        for ms in (0.0, 40.0, 100.0, 200.0, 300.0)
    ),
    *(
        Style(
            f"near live, {ms} ms queued first",
            _played,
            buffering=Buffering(prebuffer=ms),
            pace=NEAR_LIVE,
        )
        for ms in (0, 40, 100, 200, 300)
    ),
    Style("near live, adaptive", _played, buffering=ADAPTIVE, pace=NEAR_LIVE),
    Style("near live, adaptive, no word", buffering=ADAPTIVE, pace=NEAR_LIVE),
    Style("near live, 200 ms queued, no word", buffering=Buffering(prebuffer=200), pace=NEAR_LIVE),
)
DEVICES: Sequence[Style] = (
    replace(SPEAKER, name="speaker, late callbacks", late=0.04),
    replace(NAMED, name="speaker with items, late callbacks", late=0.04),
    Style("tracker, late callbacks", _played, tap="played", late=0.04),
    Style("speaker, near live, late callbacks", tap="audio", late=0.04, pace=NEAR_LIVE),
)
CALLERS: Sequence[Style] = (
    Style("push to talk: streams, truncates", _played, cancels=True, sends=HELD, hangs_up=0.5),
    Style("push to talk: cancel, flush", cancels=True, sends=HELD, hangs_up=0.5),
    Style("push to talk: sends on release", cancels=True, sends=RELEASE, hangs_up=0.5),
    Style("push to talk: cancel, plays on", flushes=False, cancels=True, sends=HELD, hangs_up=0.5),
    Style("client's own VAD", _played, cancels=True, sends=GATED, hangs_up=0.5),
    Style("muted, then hangs up", _played, sends=MUTED, hangs_up=1.0),
    Style("clips at once", sends=CLIP, detects=False, hangs_up=0.0, buffering=Buffering()),
    Style(
        "clips at once, server's VAD", sends=CLIP, detects=True, hangs_up=0.0, buffering=Buffering()
    ),
)
#: Their agent's side is exact, so that talk times say how well the user's speech is found.
LINES: Sequence[Style] = (
    *(
        replace(SPEAKER, name=f"line noise {db:.0f} dB", noise_db=db)
        for db in (-55.0, -47.0, -40.0)
    ),
    replace(SPEAKER, name="quiet speaker -45 dB", voice_db=-45.0),
    replace(SPEAKER, name="quiet speaker -45, noise -60 dB", voice_db=-45.0, noise_db=-60.0),
    replace(SPEAKER, name="quiet speaker -38, noise -55 dB", voice_db=-38.0, noise_db=-55.0),
    replace(NAMED, name="push to talk, noise -47 dB", sends=HELD, cancels=True, noise_db=-47.0),
    replace(
        NAMED, name="client's own VAD, noise -47 dB", sends=GATED, cancels=True, noise_db=-47.0
    ),
)
REPLAYS: Sequence[Style] = (
    replace(CONSOLE, name="replayed: console", replayed=True),
    replace(SPEAKER, name="replayed: speaker", replayed=True),
    Style("replayed: push to talk", _played, cancels=True, sends=HELD, replayed=True),
    replace(SPEAKER, name="replayed: line noise -47 dB", noise_db=-47.0, replayed=True),
)
STYLES: Sequence[Style] = (*CLIENTS, *BUFFERS, *DEVICES, *CALLERS, *LINES, *REPLAYS)


def playing(heard: Sequence[Sounded], at: float) -> Sounded | None:
    """What comes out of the speaker, or would come next."""
    return next((one for one in heard if one.end > at), None)
