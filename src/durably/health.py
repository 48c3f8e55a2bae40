"""How the storage of a Durably is, and whether what it holds may go away."""

from __future__ import annotations

from .model import Role
from .ports import MirrorState, Place
from .records import record
from .term import Term

LEAST_ROOM_BYTES = 64 * 2**20
MOST_USED = 0.9
"""Of the quota. Browsers clear sites when their disk runs short, and those say so first."""


@record
class Health:
    """The storage, as it was when it was asked. None: there is no such thing here, or nobody says.

    ``eviction_risk`` says why the data may go away; None where nothing speaks for it. In IndexedDB
    they may unless the browser has promised to keep them (``persist``); in memory they will;
    anywhere they may not find room when less than 64 MiB of the quota, or a tenth, is left.
    """

    role: Role
    place: Place
    epoch: int | None
    """The fencing token of the leader in IndexedDB."""
    last_durable_at: int | None
    """When (UTC ms) a commit of this program was made durable last."""
    dirty_pages: int
    """Pages that changed and are not durable yet."""
    is_full: bool
    """True where the last write was refused for want of room."""
    is_persisted: bool | None
    """True where only its user clears the storage."""
    usage_bytes: int | None
    """What is in use, in a browser by everything of this origin."""
    quota_bytes: int | None
    """What may be in use. A browser's estimate is no promise, and may say too much."""
    eviction_risk: str | None

    @property
    def is_at_risk(self) -> bool:
        return self.eviction_risk is not None


async def health_of(term: Term) -> Health:
    """Of the tab that leads."""
    database = term.database
    state = await database.mirror.state()
    return Health(
        role="leader",
        place=state.place,
        epoch=state.epoch,
        last_durable_at=database.durable_at,
        dirty_pages=state.dirty_pages,
        is_full=database.has_no_room,
        is_persisted=state.is_persisted,
        usage_bytes=state.usage_bytes,
        quota_bytes=state.quota_bytes,
        eviction_risk=eviction_risk(state),
    )


def eviction_risk(state: MirrorState) -> str | None:
    """Why what is stored may go away."""
    if state.place == "memory":
        return "Nothing is kept: it lies in the memory of this program."
    if state.is_persisted is None:
        return "This browser does not say whether it keeps the data of this site."
    if not state.is_persisted:
        return "The browser may clear the data of this site when it needs room: call persist()."
    if state.usage_bytes is None or state.quota_bytes is None:
        return None
    room = state.quota_bytes - state.usage_bytes
    if room < LEAST_ROOM_BYTES or state.usage_bytes > MOST_USED * state.quota_bytes:
        return f"Little room is left: {room:,} of {state.quota_bytes:,} bytes."
    return None
