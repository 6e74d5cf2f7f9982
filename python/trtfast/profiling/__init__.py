"""``trtfast.profile``: where the time of an engine goes, layer by layer."""

from .report import LayerProfile, ProfileReport
from .roofline import Position, Roof
from .run import profile

__all__ = ["LayerProfile", "Position", "ProfileReport", "Roof", "profile"]
