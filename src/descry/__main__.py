"""The command `descry`, and `python -m descry`: Ctrl-C ends it with one line at any moment.

Little is imported here, so that hardly a moment passes before Ctrl-C is looked after.
"""

import os
import sys

TYPE_CHECKING = False  # as typing has it, whose import takes 30 ms
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    import _signal as signal  # what is behind `signal`, without the 10 ms that its names take

INTERRUPTED = 130  # the exit status, as a shell has it


def main() -> None:
    """Run the command line."""
    heeded = (
        signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    )  # by a job in the background it is not
    if heeded:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from descry.cli.app import main as run

        run()
    except KeyboardInterrupt:
        _end()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer has caught it
            _end()
        raise
    finally:
        if heeded:
            signal.signal(signal.SIGINT, _end)  # while Python takes itself down


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """Raise KeyboardInterrupt; but while a module is imported, end.

    An exception that comes into a half-made module may come out as another one, or not at all.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _end()
        frame = frame.f_back
    raise KeyboardInterrupt


def _end(*_: object) -> None:
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
