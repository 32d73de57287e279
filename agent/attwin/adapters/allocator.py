"""The allocator of the C library, where it is glibc's."""

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 65_536


def give_large_arrays_back() -> None:
    """Let the memory of large arrays go back to the machine when they are freed.

    Source: mallopt(3). By itself glibc raises the size from which memory is mapped by itself up to 32 MB, as soon as
    such an array is freed; smaller ones lie in the heap, which keeps its size while anything lies behind them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
