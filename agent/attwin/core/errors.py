"""What can go wrong, grouped by what the caller can do about it.

Names end in ``Error``. Data that is merely bad is not an error: it is a quality, or a counted reject.
"""


class AttwinError(Exception):
    """Base of every error the agent raises on purpose.

    Attributes:
        hint: What a person can do about it; empty where there is nothing to add.
    """

    hint: str = ""


class SettingsError(AttwinError):
    """The settings cannot be used: a person has to edit a file. Never retried.

    Attributes:
        problems: Every problem found, one line each.
    """

    def __init__(self, problems: list[str]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([*problems, f"{count}."]))
        self.problems = problems


class LinkDownError(AttwinError):
    """A broker cannot be reached. Everything stays where it is; try again later."""


class BundleError(AttwinError):
    """A model bundle cannot be trusted or used. The current model stays active."""


class BundleMismatchError(BundleError):
    """A file of the bundle, or what it computes, differs from what its manifest says."""


class UpdateRefusedError(AttwinError):
    """A pushed model or configuration cannot be trusted or used here. What serves goes on serving."""


class ScorerError(AttwinError):
    """No runtime on this machine can run the model."""

    hint = "Run `attwin doctor`: it says which runtimes were tried and why each was refused."


class StoreError(AttwinError):
    """The database cannot be used. The agent stops: without it no promise can be kept."""


class StoreDamagedError(StoreError):
    """The database is damaged. The next start sets it aside and saves what can be read."""


class StoreStalledError(StoreError):
    """The disk is full or refuses for now. What waits is held; try again later."""


class DataError(AttwinError):
    """An input file is not what the command needs."""


NOT_RUNNING = "not running"


class AgentAwayError(AttwinError):
    """No agent answers on the control socket.

    Attributes:
        state: What is known of it all the same.
    """

    def __init__(self, message: str, state: str = NOT_RUNNING) -> None:
        super().__init__(message)
        self.state = state


class AlertGoneError(AttwinError):
    """An alert that a person means is not active."""

    hint = "`attwin alerts list` shows those that are."
