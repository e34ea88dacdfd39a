"""Helpers behind the notebooks: make an open model talk like one person, and measure whether it does."""

import sys

if sys.argv[:1] == ["-m"]:  # a command, which is being imported: later errors.as_command tells of Ctrl-C

    def _stopped(kind: type[BaseException], *more: object) -> None:
        if kind is KeyboardInterrupt:
            print("\nStopped before it began.", file=sys.stderr)
        else:
            sys.__excepthook__(kind, *more)  # type: ignore[arg-type]

    sys.excepthook = _stopped
