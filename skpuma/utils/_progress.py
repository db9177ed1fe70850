"""Long loops: a progress bar, and Ctrl-C that keeps what has been computed."""

from skpuma.utils.errors import InterruptedWarning, warn

# A bar for anything quicker is noise.
BAR_AFTER_SECONDS = 1.0


def progress(results, total=None, *, verbose=0, title=""):
    """The same iterable under a tqdm bar, if `verbose` asks for one.

    Raises
    ------
    ImportError
        If a bar is asked for and tqdm is not installed.
    """
    if not verbose:
        return results
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            f"verbose={verbose!r} shows a progress bar, which needs tqdm: "
            "pip install tqdm, or use verbose=0."
        ) from error
    return tqdm(results, total=total, desc=title, delay=BAR_AFTER_SECONDS)


class Interruptible:
    """An iterable of results that Ctrl-C ends early instead of losing them.

    Iterate over it; after the loop `interrupted` tells whether it ended early. Before
    the first result there is nothing to keep, and Ctrl-C is what it always is. Work
    has to happen where the next result is computed (a generator), not in the body of
    the loop.

    Parameters
    ----------
    results : iterable
    total : int, optional
    verbose : int, default 0
        Above 0: a tqdm bar, after one second.
    title : str, default ""
        What the bar and the warning call the results, in the plural.
    """

    def __init__(self, results, total=None, *, verbose=0, title="results"):
        self.results = results
        self.total = total
        self.verbose = verbose
        self.title = title
        self.interrupted = False

    def __iter__(self):
        bar = progress(self.results, self.total, verbose=self.verbose, title=self.title)
        done = 0
        try:
            for one in bar:
                done += 1
                yield one
        except KeyboardInterrupt:
            if not done:
                raise
            self.interrupted = True
            of = "" if self.total is None else f" of {self.total}"
            warn(
                f"Interrupted: the values are those of the first {done}{of} "
                f"{self.title}.",
                InterruptedWarning,
            )
