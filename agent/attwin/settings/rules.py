"""What the settings of a rule say, and what they must not."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from attwin.core.alerts import OWN_RULES, SEVERITIES
from attwin.core.durations import format_duration
from attwin.core.forecast import MOST_STEPS
from attwin.core.rules import ATTENTION
from attwin.core.schedules import days_of, minute_of_day
from attwin.settings.model import (
    ForecastSettings,
    HoursSettings,
    RuleSettings,
    Settings,
    WhenSettings,
)
from attwin.settings.reader import Reader, did_you_mean
from attwin.settings.references import check_kind, check_metric, check_name

SUBJECTS = ("metric", "feature", "attention", "forecast", "warning", "anomaly", "peers", "silent")
"""What a condition may be about."""
_LEAST_CHANGES = 2
_LEAST_STEP_MS = 1_000


def check_rules(settings: Settings, reader: Reader) -> None:
    """Report what is wrong with rules, groups and what they have in common."""
    for name, patterns in settings.groups.items():
        check_name(name, f"groups.{name}", reader)
        if not patterns:
            reader.report_at(f"groups.{name}", "ids or patterns of entities, such as north-*")
    for entity, entity_settings in settings.entities.items():
        parent = entity_settings.parent
        if parent and parent not in settings.entities and parent not in settings.groups:
            known = [*settings.entities, *settings.groups]
            reader.report_at(f"entities.{entity}.parent", f"no entity and no group; {did_you_mean(parent, known)}")
    check_watches(settings, reader)
    if settings.quiet:
        _check_hours(settings.quiet.hours, "quiet.hours", reader)
    for index, rule in enumerate(settings.rules):
        _check_rule(rule, f"rules[{index}]", settings, reader)
    for name, count in Counter(rule.name for rule in settings.rules).items():
        if name and count > 1:
            reader.report_at("rules", f"{count} rules are called `{name}`; a name must be unique")


def subjects_of(when: WhenSettings) -> list[str]:
    """Return what a condition is about; the metric of one on silence is none of its own."""
    named = [name for name in SUBJECTS if getattr(when, name)]
    return [name for name in named if not (name == "metric" and when.silent)]


def _check_rule(rule: RuleSettings, where: str, settings: Settings, reader: Reader) -> None:
    check_name(rule.name, f"{where}.name", reader)
    if rule.name in OWN_RULES:
        reader.report_at(f"{where}.name", f"`{rule.name}` is an alert of the agent's own; call the rule something else")
    if check_kind(rule.kind, f"{where}.kind", settings, reader):
        _check_subject(rule, f"{where}.when", settings, reader)
    if len(subjects_of(rule.when)) != 1:
        reader.report_at(f"{where}.when", "one of " + ", ".join(SUBJECTS) + ", such as `metric: NAME`")
    for problem in _level_problems(rule.when):
        reader.report_at(f"{where}.when", problem)
    if rule.count < 1:
        reader.report_at(f"{where}.count", "1 or more")
    if rule.flapping and (rule.flapping.changes < _LEAST_CHANGES or not rule.flapping.within):
        reader.report_at(f"{where}.flapping", "`changes:` 2 or more, `within:` a time such as 10m")
    for problem in _escalation_problems(rule):
        reader.report_at(f"{where}.escalate", problem)
    _check_hours(rule.schedule, f"{where}.schedule", reader)
    _check_hours(rule.quiet.hours if rule.quiet else [], f"{where}.quiet.hours", reader)
    _check_names(rule, where, settings, reader)


def _check_subject(rule: RuleSettings, where: str, settings: Settings, reader: Reader) -> None:
    """Check that the kind has what the rule is about."""
    for key in ("metric", "peers"):
        if getattr(rule.when, key):
            check_metric(getattr(rule.when, key), rule.kind, f"{where}.{key}", settings, reader)
    for key in ("attention", "feature"):
        if getattr(rule.when, key) and not settings.kinds[rule.kind].model:
            reader.report_at(f"{where}.{key}", f"kind `{rule.kind}` has no model")
    for problem in (*_silence_problems(rule, settings), *_foresight_problems(rule, settings)):
        reader.report_at(where, problem)


def _foresight_problems(rule: RuleSettings, settings: Settings) -> Iterator[str]:
    """Yield what is wrong with a condition on what is expected, or is strange."""
    when, kind = rule.when, settings.kinds[rule.kind]
    for key, given in (("forecast", kind.forecast), ("warning", kind.forecast), ("anomaly", kind.anomaly)):
        subject = getattr(when, key)
        if subject and (given is None or subject not in given.of):
            part = "anomaly" if key == "anomaly" else "forecast"
            yield f"`{key}: {subject}` needs it under kinds.{rule.kind}.{part}.of"
    horizons = kind.forecast.horizons if kind.forecast else []
    if when.forecast and horizons and when.in_ not in horizons:
        yield "with `forecast:` goes `in:`, one of " + ", ".join(map(format_duration, horizons))
    if when.warning and horizons and not 0 < (when.within or 0) <= max(horizons):
        yield f"with `warning:` goes `within:`, at most {format_duration(max(horizons))}"
    if (when.in_ is not None and not when.forecast) or (when.within is not None and not when.warning):
        yield "`in:` goes with `forecast:`, `within:` with `warning:`"
    if when.warning and (when.clear_above is not None or when.clear_below is not None):
        yield "`warning:` has one level: it ends when nothing is expected any more"


def check_watches(settings: Settings, reader: Reader) -> None:
    """Report what is wrong with what is forecast and watched for anomalies."""
    for name, kind in settings.kinds.items():
        for part, given in (("forecast", kind.forecast), ("anomaly", kind.anomaly)):
            where = f"kinds.{name}.{part}"
            for subject in given.of if given else ():
                if subject == ATTENTION and not kind.model:
                    reader.report_at(f"{where}.of", f"kind `{name}` has no model, so no attention")
                elif subject != ATTENTION:
                    check_metric(subject, name, f"{where}.of", settings, reader)
            if given and given.every < _LEAST_STEP_MS:
                reader.report_at(f"{where}.every", "1s or more")
        if kind.forecast and kind.forecast.every >= _LEAST_STEP_MS:
            for problem in _horizon_problems(kind.forecast):
                reader.report_at(f"kinds.{name}.forecast.horizons", problem)


def _horizon_problems(forecast: ForecastSettings) -> Iterator[str]:
    steps = [horizon_ms / forecast.every for horizon_ms in forecast.horizons]
    if not steps or steps != sorted(set(steps)) or any(step < 1 or step % 1 for step in steps):
        yield f"rising, each a multiple of every ({format_duration(forecast.every)})"
    elif max(steps) > MOST_STEPS:
        yield f"at most {MOST_STEPS} steps of `every:` ahead"


def _check_names(rule: RuleSettings, where: str, settings: Settings, reader: Reader) -> None:
    """Check the groups and rules that a rule names."""
    together = rule.together
    for group in together.groups if together else ():
        if group not in settings.groups:
            reader.report_at(f"{where}.together.groups", f"no group `{group}`; {did_you_mean(group, settings.groups)}")
    if together and together.at_least < 1:
        reader.report_at(f"{where}.together.at_least", "1 or more")
    names = [*(other.name for other in settings.rules), *OWN_RULES]
    for name in rule.suppressed_by:
        if name not in names:
            reader.report_at(f"{where}.suppressed_by", f"no rule `{name}`; {did_you_mean(name, names)}")
        if name == rule.name and name:
            reader.report_at(f"{where}.suppressed_by", "a rule does not explain its own alert")


def _silence_problems(rule: RuleSettings, settings: Settings) -> Iterator[str]:
    when, metrics = rule.when, settings.kinds[rule.kind].metrics
    if when.longer is not None and not when.silent:
        yield "`longer:` goes with `silent: true`"
    if when.silent and when.longer is None and not (when.metric in metrics and metrics[when.metric].every):
        yield "with `silent: true` goes `longer:`, a time such as 10m, unless the metric has `every:`"


def _level_problems(when: WhenSettings) -> Iterator[str]:
    levels = [when.above, when.below, when.clear_above, when.clear_below]
    if when.silent:
        if any(level is not None for level in levels):
            yield "`silent: true` has no level; `longer:` says for how long"
        return
    if (when.above is None) == (when.below is None):
        yield "either `above:` or `below:`"
    if when.peers and when.below is not None:
        yield "with `peers:` goes `above:`, a distance such as 4"
    if when.above is not None:
        clear = when.above if when.clear_below is None else when.clear_below
        if when.clear_above is not None or clear > when.above:
            yield "with `above:` goes `clear_below:`, at or below that level"
    if when.below is not None:
        clear = when.below if when.clear_above is None else when.clear_above
        if when.clear_below is not None or clear < when.below:
            yield "with `below:` goes `clear_above:`, at or above that level"


def _escalation_problems(rule: RuleSettings) -> Iterator[str]:
    """Yield what is wrong with what makes an alert graver: it must become graver each time."""
    when = rule.when
    side = "below" if when.below is not None else "above"
    allowed = ("after",) if when.silent else ("after", side)
    for step in rule.escalate:
        given = [key for key in ("after", "above", "below") if getattr(step, key) is not None]
        if len(given) != 1 or given[0] not in allowed:
            yield "each with " + " or ".join(f"`{key}:`" for key in allowed)
            return
    level = getattr(when, side) or 0.0
    levels = [(getattr(step, side), step.severity) for step in rule.escalate if step.after is None]
    times = [(step.after, step.severity) for step in rule.escalate if step.after is not None]
    if _stalls([(level, rule.severity), *levels], downwards=side == "below") or _stalls([(0, rule.severity), *times]):
        yield "one after the other, each further than the one before and graver"


def _stalls(steps: Sequence[tuple[float, str]], *, downwards: bool = False) -> bool:
    """Return whether a step is no further than the one before it, or not graver."""
    return not all(
        (second < first if downwards else second > first) and SEVERITIES.index(graver) > SEVERITIES.index(severity)
        for (first, severity), (second, graver) in itertools.pairwise(steps)
    )


def _check_hours(hours: list[HoursSettings], where: str, reader: Reader) -> None:
    for place, span in enumerate(hours):
        at = f"{where}[{place}]"
        for key, parse in (("from", minute_of_day), ("to", minute_of_day)):
            _try(parse, span.from_ if key == "from" else span.to, f"{at}.{key}", reader)
        _try(days_of, span.days, f"{at}.days", reader)


def _try(parse: Callable[..., object], value: object, where: str, reader: Reader) -> None:
    try:
        parse(value)
    except ValueError as error:
        reader.report_at(where, str(error))
