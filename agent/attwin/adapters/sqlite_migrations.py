"""The schema of ``twin.db`` by numbered migrations; each runs once, in one transaction with its record."""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from attwin.adapters.sqlite_lanes import adopt_old_lanes

MIGRATIONS = Migrations("attwin")

_M001 = """
create table meta (name text primary key, value text not null) strict;

create table entities (
    id integer primary key, name text not null, kind text not null, first_seen_ms integer not null, forgotten_ms integer
) strict;
create unique index entities_name on entities (name) where forgotten_ms is null;

create table series (
    id integer primary key, entity_id integer not null references entities (id),
    metric text not null, unit text not null
) strict;
create index series_entity on series (entity_id);

create table state (
    series_id integer primary key, time_ms integer not null, value real not null, quality text not null
) strict;

create table scores (
    entity_id integer not null, time_ms integer not null, score real not null, missing text not null,
    primary key (entity_id, time_ms)
) strict, without rowid;

create table alerts (
    id integer primary key, rule text not null, entity text not null, severity text not null, subject text not null,
    state text not null, value real not null, threshold real not null, since_ms integer not null,
    time_ms integer not null, opened_ms integer not null, cleared_ms integer
) strict;
create index alerts_state on alerts (state);

create table alert_events (
    id integer primary key, alert_id integer not null references alerts (id), time_ms integer not null,
    type text not null, body text not null
) strict;

create table lanes (lane text primary key, next_sequence integer not null) strict;

create table outbox (
    lane text not null, sequence integer not null, topic text not null, payload blob not null,
    retain integer not null, created_ms integer not null,
    primary key (lane, sequence)
) strict, without rowid;

create table rejects (
    id integer primary key, time_ms integer not null, source integer not null, topic text not null,
    reason text not null, detail text not null, bytes integer not null, payload blob not null
) strict;

create table models (
    id integer primary key, kind text not null, name text not null, version integer not null, sha256 text not null,
    runtime text not null, activated_ms integer not null
) strict;

create table journal (
    id integer primary key, created_ms integer not null, readings integer not null,
    first_ms integer, last_ms integer, body blob not null, counts text not null
) strict;

create table audit (
    source text not null, name text not null, reason text not null, count integer not null,
    primary key (source, name, reason)
) strict, without rowid;

create table snapshot (
    id integer primary key check (id = 1), journal_id integer not null, created_ms integer not null,
    checksum text not null, body blob not null
) strict;

insert into meta values ('audited_journal_id', '0');

create view audit_totals as
select source, name, reason, sum(count) as count from (
    select source, name, reason, count from audit
    union all
    select each.value ->> 0, each.value ->> 1, each.value ->> 2, each.value ->> 3
    from journal, json_each(journal.counts) as each
    where journal.id > (select cast(value as integer) from meta where name = 'audited_journal_id')
) group by source, name, reason;

create view readable_scores as
select entities.name as entity, strftime('%Y-%m-%d %H:%M:%S', scores.time_ms / 1000, 'unixepoch') as time,
    scores.score, scores.missing
from scores join entities on entities.id = scores.entity_id;
"""


_M002 = """
alter table journal add column deliveries blob not null default x'';
alter table journal add column boot integer not null default 0;

alter table rejects rename to old_rejects;
create table rejects (
    id integer primary key autoincrement, time_ms integer not null, source integer not null, topic text not null,
    reason text not null, detail text not null, bytes integer not null, payload blob not null,
    is_whole integer not null default 0, is_part integer not null default 0, retained integer not null default 0
) strict;
insert into rejects (id, time_ms, source, topic, reason, detail, bytes, payload)
select id, time_ms, source, topic, reason, detail, bytes, payload from old_rejects;
drop table old_rejects;

alter table journal add column merged integer not null default 0;
alter table outbox add column checksum blob not null default x'';

create table parked (
    lane text not null, sequence integer not null, topic text not null, payload blob not null, reason text not null,
    primary key (lane, sequence)
) strict, without rowid;

create table rollups (
    series_id integer not null, minute_ms integer not null, count integer not null, total real not null,
    low real not null, high real not null, last real not null, last_ms integer not null,
    primary key (minute_ms, series_id)
) strict, without rowid;

create index journal_plain on journal (id) where merged = 0;

drop view readable_scores;
alter table scores rename to old_scores;
create table scores (
    entity_id integer not null, time_ms integer not null, score real not null, missing text not null,
    primary key (time_ms, entity_id)
) strict, without rowid;
insert into scores select * from old_scores;
create table attention (
    entity_id integer primary key, time_ms integer not null, score real not null, missing text not null
) strict;
insert into attention select entity_id, max(time_ms), score, missing from old_scores group by entity_id;
drop table old_scores;
create view readable_scores as
select entities.name as entity, strftime('%Y-%m-%d %H:%M:%S', scores.time_ms / 1000, 'unixepoch') as time,
    scores.score, scores.missing
from scores join entities on entities.id = scores.entity_id;

insert into meta values ('rolled_journal_id', '0');

create view readable_rollups as
select entities.name as entity, series.metric, strftime('%Y-%m-%d %H:%M', minute_ms / 1000, 'unixepoch') as minute,
    count, total / count as mean, low, high, last, series.unit
from rollups join series on series.id = series_id join entities on entities.id = series.entity_id;

create table boots (
    id integer primary key, boot_id text not null, started_ms integer not null, offset_ms integer not null,
    shift_ms integer not null default 0
) strict;
"""

# an index of plain segments cost a page a commit; merging goes through the journal once, so a position does
_M003 = """
drop index journal_plain;

insert into meta select 'merged_journal_id', cast(coalesce(max(id), 0) as text) from journal where merged = 1;
"""

_M004 = """
alter table state add column checksum blob not null default x'';
alter table attention add column checksum blob not null default x'';
"""

# only what was taken in part costs a page of the index
_M005 = """
alter table rejects add column message integer;
alter table rejects add column taken blob;
alter table rejects add column boot integer not null default 0;
delete from meta where name = 'dated_rejects';
create index rejects_message on rejects (message) where message is not null;
"""


_M006 = """
alter table state add column reason text not null default '';
"""

_M007 = """
create table drift (
    day_ms integer not null, kind text not null, model text not null, input text not null, psi real not null,
    usual real not null, scores integer not null, is_over integer not null,
    primary key (day_ms, kind, model, input)
) strict, without rowid;
"""

_M008 = """
alter table alerts add column acknowledged_ms integer;
alter table alerts add column by text not null default '';
alter table alerts add column note text not null default '';
alter table alerts add column snoozed_until_ms integer;
alter table alerts add column muted text not null default '';
alter table alerts add column announced integer not null default 1;
alter table alerts add column flapping integer not null default 0;
alter table alerts add column members text not null default '[]';
alter table alerts add column text text not null default '';
alter table alerts add column evidence text not null default '{}';
create index alerts_snoozed on alerts (snoozed_until_ms) where snoozed_until_ms is not null;
"""

_M009 = """
create table reactions (
    id integer primary key, name text not null, alert_id integer not null, body text not null,
    created_ms integer not null, tries integer not null default 0, state text not null default 'waiting',
    problem text not null default ''
) strict;
create index reactions_waiting on reactions (name, id) where state = 'waiting';

create table labels (
    entity text not null, time_ms integer not null, value real not null, by text not null, said_ms integer not null,
    primary key (entity, time_ms, by)
) strict, without rowid;

create table foresight (
    id integer primary key check (id = 1), created_ms integer not null, checksum text not null, body blob not null
) strict;

create table forecasts (
    entity text not null, subject text not null, horizon_ms integer not null, made_ms integer not null,
    due_ms integer not null, value real not null, low real, high real, forecaster text not null,
    grades integer not null, error real, persistence_error real, coverage real, muted text not null,
    primary key (entity, subject, horizon_ms)
) strict, without rowid;

create table warnings (
    id integer primary key, rule text not null, entity text not null, made_ms integer not null,
    expected_ms integer not null, earliest_ms integer not null, latest_ms integer not null, came_ms integer
) strict;
"""

# what is parked is counted in its own table from here on
_M010 = """
alter table outbox add column number integer not null default 0;
alter table outbox add column rank integer not null default 0;
alter table outbox add column boot integer not null default 0;
alter table lanes add column next_number integer not null default 1;
alter table lanes add column sent_up_to integer not null default 0;
alter table parked add column retain integer not null default 0;
alter table parked add column number integer not null default 0;
alter table parked add column rank integer not null default 0;
alter table parked add column created_ms integer not null default 0;
alter table parked add column boot integer not null default 0;
alter table parked add column parked_ms integer not null default 0;
delete from audit where source = 'upstream' and name = 'parked';
"""

_M011 = """
create table updates (
    transaction_id text primary key, target text not null, line text not null, name text not null,
    version integer not null, sha256 text not null, size integer not null, state text not null,
    since_ms integer not null, starts integer not null, reason text not null, detail text not null,
    source text not null, request blob not null
) strict;
create index updates_by_hash on updates (sha256);

create table update_events (
    id integer primary key, transaction_id text not null, time_ms integer not null, line text not null,
    body text not null
) strict;

create table slots (
    line text primary key, sha256 text not null, name text not null, version integer not null,
    previous text not null, over text not null, since_ms integer not null
) strict, without rowid;

create table floors (line text primary key, version integer not null) strict, without rowid;
"""


@MIGRATIONS()
def m001_first_tables(db: Database) -> None:
    """Lay the tables of the first release."""
    _run(db, _M001)


@MIGRATIONS()
def m002_upkeep(db: Database) -> None:
    """Add what proves, mends and bounds: deliveries, boots, roll-ups, checksums, whole rejects."""
    _run(db, _M002)


@MIGRATIONS()
def m003_merged_position(db: Database) -> None:
    """Write less a commit: where merging stands is a position."""
    _run(db, _M003)


@MIGRATIONS()
def m004_state_checksums(db: Database) -> None:
    """Let flipped bits be noticed in the current state."""
    _run(db, _M004)


@MIGRATIONS()
def m005_rejects_know_what_was_taken(db: Database) -> None:
    """Let a message that was taken in part be taken again, and nothing of it twice."""
    _run(db, _M005)


@MIGRATIONS()
def m006_state_reasons(db: Database) -> None:
    """Let the current state say why a reading is not plainly good."""
    _run(db, _M006)


@MIGRATIONS()
def m007_drift(db: Database) -> None:
    """Keep how far each day was from training."""
    _run(db, _M007)


@MIGRATIONS()
def m008_alert_life(db: Database) -> None:
    """Keep what people do about alerts, what mutes them, and what was known when they opened."""
    _run(db, _M008)


@MIGRATIONS()
def m009_site(db: Database) -> None:
    """Keep what is to be done on site, and what people say was true."""
    _run(db, _M009)


@MIGRATIONS()
def m010_lanes(db: Database) -> None:
    """Give the outbox its lanes, and keep how far each may have been sent."""
    _run(db, _M010)
    adopt_old_lanes(db.conn)


@MIGRATIONS()
def m011_updates(db: Database) -> None:
    """Keep what is pushed, what became of it, what serves, and below which version nothing is taken."""
    _run(db, _M011)


def _run(db: Database, script: str) -> None:
    # executescript would commit; the migration shares its transaction with the record that it ran
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)
