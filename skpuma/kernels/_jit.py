"""The one decorator of the compiled kernels.

No ``fastmath`` and no ``parallel``: the disk cache of numba does not tell flag variants
apart, and a parallel kernel aborts the process when two threads call it on some
threading layers. Blocks are run in parallel above, which ``nogil`` allows.
"""

from numba import njit

kernel = njit(cache=True, nogil=True)
