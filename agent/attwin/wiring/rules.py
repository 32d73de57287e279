"""Rules and groups as the configuration describes them."""

from collections.abc import Mapping, Sequence

from attwin.core.catalogue import Kind
from attwin.core.durations import format_duration
from attwin.core.errors import SettingsError
from attwin.core.groups import Groups
from attwin.core.rules import ATTENTION, Basis, Flapping, Level, Rule, Subject, Together
from attwin.core.schedules import Hours, Schedule, days_of, minute_of_day
from attwin.core.stale import STALE_PERIODS
from attwin.core.types import MS_PER_SECOND
from attwin.runtime.foresight import Watch
from attwin.runtime.twin import KindModel
from attwin.runtime.zones import offset_of
from attwin.settings.model import HoursSettings, RuleSettings, Settings, WhenSettings
from attwin.settings.reader import did_you_mean

_LEAST_LATENESS_MS = 2_000
"""So long a step of a grid waits for readings that are late, also where the kind has no model."""
_GAP_PERIODS = STALE_PERIODS
"""A condition is not known to hold over a longer silence."""


def groups_of(settings: Settings) -> Groups:
    """Return the configured groups, and the parents of entities."""
    parents = {name: entity.parent for name, entity in settings.entities.items() if entity.parent}
    return Groups(settings.groups, parents)


def rules_of(settings: Settings, kinds: Sequence[Kind], models: Mapping[int, KindModel]) -> list[Rule]:
    """Return the configured rules.

    Args:
        settings: Checked.
        kinds: All kinds, in the order of the configuration.
        models: By the index of their kind.

    Raises:
        SettingsError: A rule is about a feature that the model does not have.
    """
    names = list(settings.kinds)
    rules, problems = [], list[str]()
    for rule in settings.rules:
        place = names.index(rule.kind)
        try:
            rules.append(_rule(rule, place, kinds[place], models.get(place), settings))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return rules


def watches_of(settings: Settings, kinds: Sequence[Kind]) -> list[Watch]:
    """Return what is looked at on grids: what is forecast, and what is watched for anomalies."""
    found = []
    for place, given in enumerate(settings.kinds.values()):
        kind = kinds[place]
        grids: list[tuple[Sequence[str], int, tuple[int, ...]]] = []
        if given.forecast:
            grids.append((given.forecast.of, given.forecast.every, tuple(given.forecast.horizons)))
        if given.anomaly:
            grids.append((given.anomaly.of, given.anomaly.every, ()))
        found += [
            Watch(
                kind=place,
                subject=subject,
                column=None if subject == ATTENTION else kind.metric_index(subject),
                step_ms=step_ms,
                horizons_ms=horizons_ms,
                is_scored=not horizons_ms,
                lateness_ms=max(kind.lateness_ms, _LEAST_LATENESS_MS),
            )
            for subjects, step_ms, horizons_ms in grids
            for subject in subjects
        ]
    return found


def _rule(settings: RuleSettings, place: int, kind: Kind, model: KindModel | None, whole: Settings) -> Rule:
    when = settings.when
    subject = _subject(settings, kind, model)
    quiet = settings.quiet or whole.quiet
    zone = whole.gateway.zone
    threshold, clear = _levels(settings, kind)
    metric = kind.metrics[subject.column] if subject.basis is Basis.METRIC and subject.column is not None else None
    by_level = [step for step in settings.escalate if step.after is None]
    return Rule(
        name=settings.name,
        kind=place,
        entities=tuple(settings.entities),
        subject=subject,
        above=when.below is None and not when.warning,
        threshold=threshold,
        clear=clear,
        for_ms=settings.for_,
        count=settings.count,
        gap_ms=_GAP_PERIODS * metric.every_ms if metric else 0,
        clear_for_ms=settings.clear_for,
        cooldown_ms=settings.cooldown,
        severity=settings.severity,
        levels=tuple(
            Level(threshold=step.above if step.above is not None else step.below or 0.0, severity=step.severity)
            for step in by_level
        ),
        later=tuple((step.after, step.severity) for step in settings.escalate if step.after is not None),
        flapping=Flapping(changes=settings.flapping.changes, within_ms=settings.flapping.within)
        if settings.flapping
        else None,
        schedule=_schedule(settings.schedule, zone) if settings.schedule else None,
        quiet=_schedule(quiet.hours, zone) if quiet else None,
        quiet_except=tuple(quiet.except_) if quiet else (),
        together=Together(
            groups=tuple(settings.together.groups),
            at_least=settings.together.at_least,
            gather_ms=settings.together.gather,
        )
        if settings.together
        else None,
        suppressed_by=tuple(settings.suppressed_by),
    )


def _subject(settings: RuleSettings, kind: Kind, model: KindModel | None) -> Subject:
    when = settings.when
    if when.silent:
        column = kind.metric_index(when.metric) if when.metric else None
        return Subject(basis=Basis.SILENCE, name=f"silence of {when.metric or 'all'}", column=column)
    for given, basis, words in (
        (when.forecast, Basis.FORECAST, f"{when.forecast} in {format_duration(when.in_ or 0)}"),
        (when.anomaly, Basis.ANOMALY, f"anomaly of {when.anomaly}"),
        (when.warning, Basis.WARNING, _expected(when)),
    ):
        if given:
            return Subject(
                basis=basis,
                name=words,
                column=None if given == ATTENTION else kind.metric_index(given),
                horizon_ms=when.in_ or 0,
                level=(when.above if when.above is not None else when.below) or 0.0,
                upwards=when.above is not None,
            )
    if when.peers:
        return Subject(basis=Basis.PEERS, name=f"{when.peers} beside others", column=kind.metric_index(when.peers))
    if when.feature:
        known = model.manifest.feature_names() if model else []
        if when.feature not in known:
            what = f"`{when.feature}` is no feature of the model of `{kind.name}`"
            raise SettingsError([f"rule {settings.name}: {what}; {did_you_mean(when.feature, known)}"])
        return Subject(basis=Basis.FEATURE, name=when.feature, column=known.index(when.feature))
    if when.metric:
        return Subject(basis=Basis.METRIC, name=when.metric, column=kind.metric_index(when.metric))
    return Subject(basis=Basis.ATTENTION, name=ATTENTION)


def _levels(settings: RuleSettings, kind: Kind) -> tuple[float, float]:
    """Return the level of the condition and the one at which it ends."""
    when = settings.when
    if when.warning:
        within_s = (when.within or 0) / MS_PER_SECOND
        return within_s, within_s
    if when.silent:
        place = kind.metric_index(when.metric)
        periods_ms = STALE_PERIODS * kind.metrics[place].every_ms if place is not None else 0
        longer_s = (periods_ms if when.longer is None else when.longer) / MS_PER_SECOND
        return longer_s, longer_s
    threshold = when.above if when.above is not None else when.below
    clear = when.clear_below if when.above is not None else when.clear_above
    if threshold is None:
        raise SettingsError([f"rule {settings.name}: neither above nor below"])
    return threshold, threshold if clear is None else clear


def _expected(when: WhenSettings) -> str:
    """Return what a warning is about, in words."""
    side = f"above {when.above:g}" if when.above is not None else f"below {when.below or 0:g}"
    return f"{when.warning} expected {side}"


def _schedule(hours: Sequence[HoursSettings], zone: str) -> Schedule:
    spans = tuple(
        Hours(days=days_of(span.days), from_minute=minute_of_day(span.from_), to_minute=minute_of_day(span.to))
        for span in hours
    )
    return Schedule(spans=spans, zone=zone, offset_s=offset_of(zone))
