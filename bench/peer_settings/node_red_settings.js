// Without the editor and without pages; the function node gets the SQLite of Node.js.
module.exports = {
    uiHost: "127.0.0.1",
    httpAdminRoot: false,
    httpNodeRoot: false,
    telemetry: { enabled: false, updateNotification: false },
    functionGlobalContext: { sqlite: require("node:sqlite") },
    logging: { console: { level: "warn", metrics: false, audit: false } },
};
