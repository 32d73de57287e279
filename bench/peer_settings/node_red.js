// The body of a function node: the rule, and rows that wait for the next transaction.
context.get("rows").push(msg.payload);
if (msg.payload.metric !== "temperature" || msg.payload.value <= 90) {
    return null;
}
return { topic: "alerts", payload: msg.payload };
