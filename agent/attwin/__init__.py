"""attwin: live digital twins of attention on a gateway."""

__version__ = "0.1.0"
