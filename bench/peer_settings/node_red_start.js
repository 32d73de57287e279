// What the function node does at its start: a table, and a transaction every 100 ms for what has come since.
const { DatabaseSync } = global.get("sqlite");
const database = new DatabaseSync(env.get("DATABASE"));
database.exec("pragma journal_mode = wal");
database.exec("pragma synchronous = full");
database.exec(
    "create table if not exists readings " +
        "(id integer primary key, seq integer, entity text, metric text, measured real, value real)",
);
const insert = database.prepare("insert into readings (seq, entity, metric, measured, value) values (?, ?, ?, ?, ?)");
const rows = [];
context.set("rows", rows);
context.set(
    "writer",
    setInterval(() => {
        if (rows.length === 0) {
            return;
        }
        database.exec("begin");
        for (const row of rows) {
            insert.run(row.seq, row.entity, row.metric, row.time, row.value);
        }
        database.exec("commit");
        rows.length = 0;
    }, 100),
);
