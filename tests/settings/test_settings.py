"""Facts about reading the configuration."""

import json
import math
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attwin.core.errors import SettingsError
from attwin.settings.load import default_database, load_settings, load_whereabouts
from attwin.settings.model import Settings
from attwin.settings.show import as_plain, json_schema
from attwin.settings.types import format_duration, parse_duration
from attwin.settings.yaml_tree import Node, read_tree

GOOD = """\
version: 1
gateway: {id: g1, site: lab, zone: Europe/Berlin}
broker: {url: "mqtt://127.0.0.1"}
kinds:
  room:
    metrics:
      temperature: {unit: Cel, min: -20, max: 60, every: 1m}
      co2: {unit: ppm}
sources:
  - topic: sensors/{entity}/{metric}
    kind: room
rules:
  - name: stuffy
    kind: room
    when: {metric: co2, above: 1000, clear_below: 900}
    for: 5m
"""


def load(folder: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    """Write a configuration and read it."""
    path = folder / "attwin.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environment or {})


def problems(folder: Path, text: str) -> list[str]:
    """Return the problems of a configuration."""
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("setting", "everywhere", "of_the_room"),
    [
        pytest.param("", 0.25, None, id="nothing said"),
        pytest.param("drift: {limit: off}\n", math.inf, None, id="off"),
        pytest.param("drift: {limit: 1}\n", 1.0, None, id="a whole number"),
        pytest.param("kind", 0.25, 0.5, id="of a kind"),
    ],
)
def test_the_limit_of_drift(tmp_path: Path, setting: str, everywhere: float, of_the_room: float | None) -> None:
    """It is a number or `off`, for all kinds or for one, and is printed as it is read."""
    text = GOOD.replace("  room:\n", "  room:\n    drift: {limit: 0.5}\n") if setting == "kind" else GOOD + setting

    found = load(tmp_path, text)

    own = found.kinds["room"].drift
    assert (found.drift.limit, own and own.limit) == (everywhere, of_the_room)
    assert load(tmp_path, json.dumps(as_plain(found))) == found


@pytest.mark.parametrize("wrong", ["0", "-1", "true", "often", ".inf", ".nan", "[1]", ""])
def test_a_limit_of_drift_that_is_none(tmp_path: Path, wrong: str) -> None:
    """It is named with what is allowed; nothing else is a level."""
    (found,) = problems(tmp_path, GOOD + f"drift: {{limit: {wrong}}}\n")

    assert "drift.limit: a number above 0, or off, not" in found


@pytest.mark.parametrize("name", ["drift", "store-damaged"])
def test_the_names_of_the_agents_own_alerts_are_taken(tmp_path: Path, name: str) -> None:
    """A rule of such a name could not be told from the agent's own."""
    (found,) = problems(tmp_path, GOOD.replace("name: stuffy", f"name: {name}"))

    assert f"`{name}` is an alert of the agent's own" in found


def test_a_good_configuration_is_read(tmp_path: Path) -> None:
    """Values, units and durations arrive, defaults fill the rest, paths are relative to the file."""
    found = load(tmp_path, GOOD)

    assert found.kinds["room"].metrics["temperature"].every == 60_000
    assert found.rules[0].for_ == 300_000
    assert found.store.path == str(tmp_path / "twin.db")
    assert found.upstream is None


def test_every_problem_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    """One run of the check shows all there is to mend, structure and sense alike."""
    text = (
        GOOD.replace("  - topic: s", "  - topik: x\n    topic: s")
        .replace("every: 1m", "every: 5")
        .replace("{metric: co2,", "{metric: co3,")
        .replace("zone: Europe/Berlin", "zone: Mars")
    )

    assert problems(tmp_path, text) == [
        "attwin.yaml:2: gateway.zone: `Mars` is no IANA time zone such as Europe/Berlin",
        "attwin.yaml:7: kinds.room.metrics.temperature.every: a duration such as 5s or 2m, not `5`",
        "attwin.yaml:10: sources[0].topik: not a setting; did you mean `topic`?",
        "attwin.yaml:16: rules[0].when.metric: `co3` is not a metric of kind `room`; did you mean `co2`?",
    ]


def test_one_problem_does_not_hide_another(tmp_path: Path) -> None:
    """What misses a part is judged for the rest, what stands in for that part is not, and numbers stay right."""
    text = (
        GOOD.replace("version: 1", "version: 2")
        .replace("{id: g1, site: lab, zone: Europe/Berlin}", "{zone: Mars}")
        .replace("mqtt://127.0.0.1", "mqtt://127.0.0.1:99999")
        .replace("sources:\n", "sources:\n  - 5\n  - {kind: rom}\n")
        .replace("name: stuffy", "nme: stuffy")
        .replace("{metric: co2,", "{metric: co3,")
    )

    assert problems(tmp_path, text) == [
        "attwin.yaml:1: version: one of 1, not `2`",
        "attwin.yaml:2: gateway.id: missing",
        "attwin.yaml:2: gateway.zone: `Mars` is no IANA time zone such as Europe/Berlin",
        "attwin.yaml:3: broker.url: a port is 1 to 65535, not as in `mqtt://127.0.0.1:99999`",
        "attwin.yaml:10: sources[0]: a mapping, not `5`",
        "attwin.yaml:11: sources[1].topic: missing",
        "attwin.yaml:11: sources[1].kind: `rom` is not a kind; did you mean `room`?",
        "attwin.yaml:15: rules[0].nme: not a setting; did you mean `name`?",
        "attwin.yaml:15: rules[0].name: missing",
        "attwin.yaml:17: rules[0].when.metric: `co3` is not a metric of kind `room`; did you mean `co2`?",
    ]


def test_of_what_is_missing_nothing_else_is_said(tmp_path: Path) -> None:
    """Kinds, metrics and secrets that are not there make no problems of their own where they are named."""
    no_kinds = GOOD.replace(GOOD[GOOD.index("kinds:") : GOOD.index("sources:")], "kinds: 5\n")
    no_metrics = GOOD.replace("    metrics:\n", "    metric:\n")
    no_format = GOOD.replace("kind: room\nrules", "kind: room\n    payload: {format: cvs, columns: [value]}\nrules")

    assert [len(problems(tmp_path, text)) for text in (no_kinds, no_metrics, no_format)] == [1, 2, 1]


@pytest.mark.parametrize(
    ("said", "system", "expected"),
    [
        pytest.param("", {}, "here/twin.db", id="beside the configuration"),
        pytest.param("", {"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}, "/var/lib/x/twin.db", id="systemd's folder"),
        pytest.param("store: {path: a.db}\n", {"STATE_DIRECTORY": "/var/lib/x"}, "here/a.db", id="as it says"),
    ],
)
def test_the_database_is_in_the_state_folder_that_systemd_gives(
    tmp_path: Path, said: str, system: dict[str, str], expected: str
) -> None:
    """Under ProtectSystem=strict nothing can be written beside the configuration."""
    assert load(tmp_path, GOOD + said, system).store.path == expected.replace("here", str(tmp_path))
    assert default_database(Path("/etc/attwin/attwin.yaml"), {}) == "/var/lib/attwin/twin.db"


def test_a_database_that_is_there_already_stays_in_use(tmp_path: Path) -> None:
    """An agent whose unit gets a state folder later does not begin anew."""
    (tmp_path / "twin.db").touch()

    assert load(tmp_path, GOOD, {"STATE_DIRECTORY": "/var/lib/x"}).store.path == str(tmp_path / "twin.db")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('"mqtt://127.0.0.1"', '"mqtt://127.0.0.1", password: !secret hub', id="secret"),
        pytest.param("version: 1\n", "revision: 1\n", id="typo"),
        pytest.param("kinds:\n  room:", "kinds: 3\nkind:\n  room:", id="kinds"),
        pytest.param("unit: ppm", "unit: parts", id="unit"),
    ],
)
def test_where_the_database_is_needs_nothing_else_of_the_file(tmp_path: Path, old: str, new: str) -> None:
    """Looking at the database does not depend on secrets, nor on what else is wrong."""
    path = tmp_path / "attwin.yaml"
    path.write_text(GOOD.replace(old, new) + "store: {path: x/a.db}\n", encoding="utf-8")

    found = load_whereabouts(path, {})

    assert (found.database, found.gateway, found.zone) == (str(tmp_path / "x" / "a.db"), "g1", "Europe/Berlin")
    assert found.problems > 0


@pytest.mark.parametrize(
    "wrong", ["stor: {path: a.db}", "store: {pat: a.db}", "store: {path: 5}", "path: a.db", "a: ["]
)
def test_where_the_database_is_is_not_guessed(tmp_path: Path, wrong: str) -> None:
    """What may be the misspelt place of it is not passed over."""
    path = tmp_path / "attwin.yaml"
    path.write_text(f"{GOOD}{wrong}\n", encoding="utf-8")

    with pytest.raises(SettingsError):
        load_whereabouts(path, {})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("version: 1", "version: 2", "version: one of 1, not `2`", id="version"),
        pytest.param("unit: ppm", "unit: celsius", "did you mean `Cel`?", id="unit"),
        pytest.param("kind: room\n    when", "kind: rom\n    when", "did you mean `room`?", id="kind"),
        pytest.param("min: -20", "min: 70", "min 70 is not below max 60", id="range"),
        pytest.param("min: -20", "min: .nan", "a number, not `nan`", id="NaN"),
        pytest.param("min: -20", "min: true", "a number, not `True`", id="boolean for number"),
        pytest.param("id: g1", "id: 12", "text; put it in quotes, not `12`", id="number for text"),
        pytest.param("id: g1", "id: 'a/b'", "a name has 1 to 64", id="slash in an id"),
        pytest.param('"mqtt://127.0.0.1"', '"mqtt://h:0"', "a port is 1 to 65535", id="port"),
        pytest.param('"mqtt://127.0.0.1"', "localhost", "mqtt://host:port", id="url"),
        pytest.param('"mqtt://127.0.0.1"', '"mqtt://u:secretpw@h"', "belong into `username`", id="password in url"),
        pytest.param("sensors/{entity}/", "sensors/{entity}x/", "a level is fixed text", id="template"),
        pytest.param("sensors/{entity}/{metric}", "sensors/{metric}", "say which entity it is", id="no entity"),
        pytest.param("min: -20", "deadband: -1", "0 or more, not -1", id="deadband"),
        pytest.param("{unit: ppm}", "{categories: [a, b, a]}", "`a` stands 2 times", id="a category twice"),
        pytest.param("{unit: ppm}", "{categories: [a]}", "one alone says nothing", id="one category"),
        pytest.param("{unit: ppm}", "{categories: [a, ' b']}", "has spaces around it", id="spaces in a category"),
        pytest.param("{unit: ppm}", "{categories: [1, 2]}", "text; put it in quotes, not `1`", id="number category"),
        pytest.param("{unit: ppm}", "{categories: [a, b], unit: ppm}", "have no unit", id="unit of categories"),
        pytest.param("{unit: ppm}", "{categories: [a, b], max: 3}", "beside `categories`", id="range of categories"),
        pytest.param(
            "sensors/{entity}/{metric}\n",
            "sensors/{entity}/{metric}\n    payload: {format: csv}\n",
            "what are the columns",
            id="csv without columns",
        ),
        pytest.param(
            "sensors/{entity}/{metric}\n",
            "sensors/{entity}/{metric}\n    payload: {format: senml, separator: ';'}\n",
            "means nothing in format senml",
            id="a setting of another format",
        ),
        pytest.param(
            "sensors/{entity}/{metric}\n",
            "sensors/{entity}/{metric}\n    payload: {entity: id}\n",
            "says the entity, and so does the topic",
            id="an entity said twice",
        ),
        pytest.param(
            "sensors/{entity}/{metric}\n",
            "sensors/{entity}/{metric}\n    payload: {units: {co2: Cel}}\n",
            "`Cel` cannot become `ppm`",
            id="units that do not fit",
        ),
        pytest.param(
            "sensors/{entity}/{metric}\n",
            "sensors/{entity}/{metric}\n    identifiers: [entity]\n",
            "need the secret `privacy.key_file`",
            id="identifiers without a key",
        ),
        pytest.param(
            "sensors/{entity}/{metric}\n",
            "sensors/{person}/{entity}/{metric}\n    identifiers: [persn]\n",
            "did you mean `person`?",
            id="an identifier that is misspelt",
        ),
        pytest.param(
            "sensors/{entity}/{metric}\n",
            "spBv1.0/+\n    payload: {format: sparkplug}\n",
            "spBv1.0/GROUP",
            id="a wildcard for a group",
        ),
        pytest.param("clear_below: 900", "clear_below: 1100", "at or below that level", id="clear level"),
        pytest.param("above: 1000, ", "above: 1000, below: 3, ", "either `above:` or `below:`", id="two directions"),
        pytest.param("metric: co2, ", "attention: true, ", "has no model", id="attention without a model"),
        pytest.param("for: 5m", "for: 12:30", "a duration such as 5s or 2m, not `12:30`", id="YAML 1.1 sexagesimal"),
        pytest.param("name: stuffy", "name: on", None, id="YAML 1.1 boolean is text"),
        pytest.param(
            "    for: 5m", "    for: 5m\n    for: 6m", "`for` stands twice; the first is in line 16", id="twice"
        ),
        pytest.param("kinds:", "kinds: [", "not YAML", id="no YAML"),
        pytest.param(
            "version: 1", "version: 1\nbase: &a {x: 1}\nmore: {<<: *a}", "aliases (*name) are not read", id="alias"
        ),
    ],
)
def test_a_wrong_value_gets_a_clear_message(tmp_path: Path, old: str, new: str, expected: str | None) -> None:
    """The message says what was found and what is allowed; no secret is in it."""
    assert old in GOOD
    text = GOOD.replace(old, new)

    if expected is None:
        assert load(tmp_path, text).rules[0].name == "on"
        return
    found = problems(tmp_path, text)
    assert any(expected in problem for problem in found), found
    assert not any("secretpw" in problem for problem in found)


def test_an_empty_part_is_told_beside_other_problems(tmp_path: Path) -> None:
    """One problem does not hide another; a part whose items are wrong is not called empty."""
    text = GOOD.replace("  - topic: sensors/{entity}/{metric}\n    kind: room\n", "  []\n").replace("zone: ", "zon: ")

    assert [p.partition(": ")[2].partition(":")[0] for p in problems(tmp_path, text)] == ["gateway.zon", "sources"]
    assert "at least one" not in " ".join(problems(tmp_path, GOOD.replace("kind: room\nrules", "kind: 3\nrules")))


def test_a_missing_file_and_text_that_is_no_text(tmp_path: Path) -> None:
    """A file that cannot be read is one problem, not a traceback."""
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml")

    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(SettingsError, match=r"binary.yaml:2: not UTF-8"):
        load_settings(tmp_path / "binary.yaml")


@pytest.mark.parametrize("place", ["credentials", "secrets.yaml", "file"])
def test_a_secret_is_found_and_never_shown(tmp_path: Path, place: str) -> None:
    """A secret comes from a credential, from secrets.yaml or from a file of its own; printing shows stars."""
    setting = "password: !secret mqtt"
    environment = {}
    if place == "credentials":
        environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        (tmp_path / "mqtt").write_text("hunter2\n", encoding="utf-8")
    elif place == "secrets.yaml":
        (tmp_path / "secrets.yaml").write_text("mqtt: hunter2\n", encoding="utf-8")
    else:
        setting = "password_file: pw"
        (tmp_path / "pw").write_text("hunter2\n", encoding="utf-8")
        (tmp_path / "pw").chmod(stat.S_IRUSR)
    text = GOOD.replace('url: "mqtt://127.0.0.1"', f'url: "mqtt://127.0.0.1", username: u, {setting}')

    found = load(tmp_path, text, environment)

    if place != "file":
        assert found.broker.password is not None
        assert found.broker.password.reveal == "hunter2"
    assert "hunter2" not in json.dumps(as_plain(found)) + repr(found)


def test_an_unknown_secret_is_a_problem(tmp_path: Path) -> None:
    """The message names the secret and where it was looked for."""
    text = GOOD.replace('url: "mqtt://127.0.0.1"', 'url: "mqtt://127.0.0.1", password: !secret mqtt')

    assert "no secret `mqtt` in $CREDENTIALS_DIRECTORY" in problems(tmp_path, text)[0]


def test_what_is_shown_reads_back_as_the_same(tmp_path: Path) -> None:
    """``config show`` is itself a configuration."""
    first = load(tmp_path, GOOD)

    again = load(tmp_path, json.dumps(as_plain(first)))

    assert again == first


def test_the_schema_describes_every_setting() -> None:
    """Each setting has a description, and unknown keys are refused."""

    def walk(schema: dict[str, object], where: str) -> list[str]:
        missing = [] if where == "" or schema.get("description") else [where]
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        if properties:
            assert schema["additionalProperties"] is False
        for name, child in properties.items():
            missing += walk(child, f"{where}.{name}")
        return missing

    assert walk(json_schema(), "") == []


@given(st.integers(0, 36_525 * 86_400_000))
def test_a_duration_reads_back(duration_ms: int) -> None:
    """The printed form of a duration means the same."""
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("010", 10),
        ("12:30", "12:30"),
        ("1e3", 1000.0),
        ("0x1f", 31),
        ("~", None),
        ("'1'", "1"),
        ("1_000", "1_000"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    """The traps of YAML 1.1 are closed."""
    path = tmp_path / "x.yaml"
    path.write_text(f"a: {text}\n", encoding="utf-8")

    tree = read_tree(path, lambda line, problem: pytest.fail(f"{line}: {problem}"))

    assert tree is not None
    assert isinstance(tree.value, dict)
    assert tree.value["a"] == Node(value, 1)
    assert type(tree.value["a"].value) is type(value)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, len(GOOD)), insert=st.text(max_size=12), drop=st.integers(0, 20))
def test_a_damaged_configuration_is_read_or_refused_but_never_crashes(
    tmp_path: Path, cut: int, insert: str, drop: int
) -> None:
    """Whatever an editor does to the file, the answer is settings or a list of problems with the file's name."""
    path = tmp_path / "attwin.yaml"
    path.write_text(GOOD[:cut] + insert + GOOD[cut + drop :], encoding="utf-8", errors="surrogatepass")

    try:
        load_settings(path, {})
    except SettingsError as error:
        assert error.problems  # noqa: PT017 -- both ways out are right
        assert all(problem.startswith("attwin.yaml") for problem in error.problems)  # noqa: PT017 -- the same
