"""What the settings of reactions and labels say, and what they must not."""

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from attwin.core.alerts import OWN_RULES
from attwin.core.topics import compile_template
from attwin.settings.model import LabelSettings, ReactionSettings, Settings
from attwin.settings.reader import Reader, did_you_mean
from attwin.settings.references import check_name

_SCHEMES = ("http", "https")


def check_reactions(settings: Settings, reader: Reader) -> None:
    """Report what is wrong with reactions and with the topic of labels."""
    names = [*(rule.name for rule in settings.rules), *OWN_RULES]
    for index, reaction in enumerate(settings.reactions):
        where = f"reactions[{index}]"
        check_name(reaction.name, f"{where}.name", reader)
        for problem in _problems(reaction):
            reader.report_at(where, problem)
        for name in reaction.rules:
            if name not in names:
                reader.report_at(f"{where}.rules", f"no rule `{name}`; {did_you_mean(name, names)}")
    for name, count in Counter(reaction.name for reaction in settings.reactions).items():
        if name and count > 1:
            reader.report_at("reactions", f"{count} reactions are called `{name}`; a name must be unique")
    if settings.labels:
        for problem in _label_problems(settings.labels):
            reader.report_at("labels.topic", problem)


def _problems(reaction: ReactionSettings) -> Iterator[str]:
    given = [key for key in ("topic", "command", "webhook") if getattr(reaction, key)]
    if len(given) != 1:
        yield "one of `topic:`, `command:` and `webhook:`"
    if set("+#").intersection(reaction.topic):
        yield "`topic:` is one that is published to, without + and #"
    if reaction.retain and not reaction.topic:
        yield "`retain:` goes with `topic:`"
    if reaction.webhook:
        parts = urlsplit(reaction.webhook.url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            yield "`webhook: {url: ...}` is http://host/path or https://host/path"
    if reaction.timeout < 1 or reaction.within < 1:
        yield "`timeout:` and `within:` are times such as 10s"
    if reaction.retries < 0:
        yield "`retries:` 0 or more"


def _label_problems(labels: LabelSettings) -> Iterator[str]:
    try:
        fields = compile_template(labels.topic).fields
    except ValueError as error:
        yield str(error)
        return
    if set(fields) != {"entity"}:
        yield "a topic with {entity} and no other field, such as labels/{entity}"
