// A producer in another language, written from common/PROTOCOL.md alone: no package, RESP over a
// socket and psql. test_enqueue.py runs it beside a real worker and scheduler.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const STREAM = "till:{default}:normal";
const DEADLINE_MS = 20000 * Number(process.env.TEST_SLOWNESS ?? 1);
let redis;

// ---- Redis: a command is an array of byte strings, an answer one of five kinds ----

class Redis {
  constructor(path) {
    this.socket = connect(path);
    this.bytes = Buffer.alloc(0);
    this.waiting = [];
    this.socket.on("data", (data) => {
      this.bytes = Buffer.concat([this.bytes, data]);
      for (let answer; this.waiting.length && (answer = this.parse(0)); ) {
        this.bytes = this.bytes.subarray(answer.end);
        const { resolve, reject } = this.waiting.shift();
        if (answer.value instanceof Error) reject(answer.value);
        else resolve(answer.value);
      }
    });
    this.socket.on("error", (error) => this.waiting.forEach(({ reject }) => reject(error)));
  }

  /** The answer that begins at `from`, or undefined when more of it is to come. */
  parse(from) {
    const line = this.bytes.indexOf("\r\n", from);
    if (line < 0) return undefined;
    const text = this.bytes.toString("utf8", from + 1, line);
    const end = line + 2;
    switch (this.bytes.toString("latin1", from, from + 1)) {
      case "+":
        return { value: text, end };
      case "-":
        return { value: new Error(text), end };
      case ":":
        return { value: Number(text), end };
      case "$": {
        const length = Number(text);
        if (length < 0) return { value: null, end };
        if (this.bytes.length < end + length + 2) return undefined;
        return { value: this.bytes.toString("utf8", end, end + length), end: end + length + 2 };
      }
      default: {
        const value = [];
        let at = end;
        for (let i = 0; i < Number(text); i++) {
          const item = this.parse(at);
          if (!item) return undefined;
          value.push(item.value);
          at = item.end;
        }
        return { value, end: at };
      }
    }
  }

  call(...words) {
    const parts = [Buffer.from(`*${words.length}\r\n`)];
    for (const word of words) {
      const bytes = Buffer.isBuffer(word) ? word : Buffer.from(String(word));
      parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n"));
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.socket.write(Buffer.concat(parts));
    });
  }
}

// ---- PostgreSQL: psql, with values as variables that it quotes itself ----

async function sql(text, values = {}) {
  const args = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", process.env.TEST_DATABASE_URL];
  for (const [name, value] of Object.entries(values)) args.push("-v", `${name}=${value}`);
  const child = run("psql", args);
  child.child.stdin.end(text);
  return (await child).stdout.trim();
}

const VERBOSE = { VERBOSITY: "verbose" }; // errors with their SQLSTATE

async function until(question) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, `never: ${question}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const countOf = async (ids, state) =>
  Number(
    await sql("SELECT count(*) FROM jobs WHERE id = ANY (:'ids'::uuid[]) AND state::text = :'state';", {
      ids: `{${ids.join(",")}}`,
      state,
    }),
  );
const succeeded = (ids) => until(async () => (await countOf(ids, "SUCCESS")) === ids.length);

before(() => {
  redis = new Redis(process.env.TEST_REDIS_SOCKET);
});
after(() => redis.socket.end());

test("fast jobs: one XADD each, gone from the stream when they have run", async () => {
  await Promise.all(
    Array.from({ length: 500 }, (_, n) =>
      redis.call("XADD", STREAM, "*", "task", "till.tasks.noop", "args", JSON.stringify([n, "ü"])),
    ),
  );
  await redis.call("XADD", STREAM, "*", "task", "till.tasks.noop"); // the rest has defaults
  await until(async () => (await redis.call("XLEN", STREAM)) === 0);
  assert.equal(await sql("SELECT count(*) FROM jobs WHERE task <> 'undecodable';"), "0");
});

test("a fast job that fails becomes a row under the id it was given", async () => {
  const id = randomUUID();
  await redis.call(
    "XADD", STREAM, "*", "task", "till.tasks.fail", "args", '["as told"]', "kwargs", "{}", "id", id,
  ); // prettier-ignore
  await until(async () => (await sql("SELECT count(*) FROM jobs WHERE id = :'id';", { id })) === "1");
  assert.match(await sql("SELECT error FROM jobs WHERE id = :'id';", { id }), /as told/);
  await until(async () => (await countOf([id], "FAILURE")) === 1); // after its retries
});

test("durable jobs: INSERT, COMMIT, then XADD of the id", async () => {
  const ids = Array.from({ length: 50 }, () => randomUUID());
  await sql(
    `BEGIN;
     INSERT INTO jobs (id, task, queue, enqueued_at)
     SELECT id, 'till.tasks.noop', 'default', now() FROM unnest(:'ids'::uuid[]) id;
     COMMIT;`,
    { ids: `{${ids.join(",")}}` },
  );
  await Promise.all(ids.map((id) => redis.call("XADD", STREAM, "*", "job", id)));
  await redis.call("XADD", STREAM, "*", "job", ids[0]); // a second copy is dropped
  await succeeded(ids);
  const attempts = await sql("SELECT DISTINCT attempt FROM jobs WHERE id = ANY (:'ids'::uuid[]);", {
    ids: `{${ids.join(",")}}`,
  });
  assert.equal(attempts, "1");
});

test("durable jobs: one INSERT alone; an id is made", async () => {
  const id = await sql("INSERT INTO jobs (task, args) VALUES ('till.tasks.noop', '[42]') RETURNING id;");
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  await succeeded([id]);
});

test("durable jobs: till_enqueue() in a transaction that commits, and in one that does not", async () => {
  const [kept, dropped] = [randomUUID(), randomUUID()];
  await sql("BEGIN; SELECT till_enqueue('till.tasks.noop', id => :'id'); ROLLBACK;", { id: dropped });
  const made = await sql("BEGIN; SELECT till_enqueue('till.tasks.noop', '[1]', id => :'id'); COMMIT;", {
    id: kept,
  });
  assert.equal(made, kept);
  await succeeded([kept]);
  assert.equal(await sql("SELECT count(*) FROM jobs WHERE id = :'id';", { id: dropped }), "0");
  await assert.rejects(sql("SELECT till_enqueue('till.tasks.noop', '{}');"), /must be a JSON array, not object/);
});

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE = `00-${TRACE_ID}-00f067aa0ba902b7-01`;

test("a unique key is kept, replaced or refused while an unfinished job holds it", async () => {
  const later = "scheduled_at => '2100-01-01'";
  const enqueue = (args, more = "") =>
    sql(`SELECT till_enqueue('till.tasks.noop', '${args}', unique_key => 'node ü', ${later}${more});`);
  const first = await enqueue("[1]");
  const args = () => sql("SELECT args FROM jobs WHERE id = :'id';", { id: first });

  assert.equal(await enqueue("[2]"), first);
  assert.equal(await args(), "[1]");
  assert.equal(await enqueue("[3]", ", on_conflict => 'replace'"), first);
  assert.equal(await args(), "[3]");
  await assert.rejects(enqueue("[4]", ", on_conflict => 'refuse'"), new RegExp(`held by job ${first}`));
  const many = await Promise.all(
    Array.from({ length: 20 }, () =>
      sql(`SELECT till_enqueue('till.tasks.noop', unique_key => 'many', ${later}, unique_ttl => '1 hour');`),
    ),
  );
  assert.equal(new Set(many).size, 1);
  await sql(
    `INSERT INTO jobs (task, unique_key) VALUES ('till.tasks.noop', 'many')
     ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL DO NOTHING;`,
  );
  assert.equal(await sql("SELECT count(*) FROM jobs WHERE unique_key = 'many';"), "1");
  await sql("UPDATE jobs SET scheduled_at = now(), enqueued_at = NULL WHERE unique_key IS NOT NULL;");
  await succeeded([first, many[0]]);
  assert.notEqual(await enqueue("[5]"), first); // a finished job has given its key back
  await sql("UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE finished_at IS NULL;");
});

test("what comes too late is revoked; expiry, headers and trace are columns, too", async () => {
  const late = await sql("SELECT till_enqueue('till.tasks.noop', expires_at => now());");
  const kept = await sql(
    `INSERT INTO jobs (task, expires_at, headers, traceparent, retention_s)
     VALUES ('till.tasks.noop', now() + interval '1 hour', '{"tenant": "a"}', :'trace', 3600) RETURNING id;`,
    { trace: TRACE },
  );
  await until(async () => (await countOf([late], "REVOKED")) === 1);
  assert.equal(await sql("SELECT error FROM jobs WHERE id = :'id';", { id: late }), "expired");
  await succeeded([kept]);
  for (const bad of [`traceparent => '00-${TRACE_ID}-1-01'`, `headers => '{"a": 1}'`, "unique_key => ''"]) {
    await assert.rejects(sql(`SELECT till_enqueue('till.tasks.noop', ${bad});`));
  }
});

test("a fast job keeps headers, trace and expiry when it becomes a row, and is dropped when it is late", async () => {
  const [id, late] = [randomUUID(), randomUUID()];
  const fields = ["task", "till.tasks.fail", "headers", '{"tenant":"ü"}', "traceparent", TRACE];
  await redis.call("XADD", STREAM, "*", ...fields, "id", late, "expires", Date.now() - 1);
  await redis.call("XADD", STREAM, "*", ...fields, "id", id, "expires", Date.now() + 3600000);
  await until(async () => (await countOf([id], "FAILURE")) === 1);
  const row = JSON.parse(await sql("SELECT to_jsonb(j) FROM jobs j WHERE id = :'id';", { id }));
  assert.deepEqual([row.headers, row.traceparent], [{ tenant: "ü" }, TRACE]);
  assert.ok(Date.parse(row.expires_at) > Date.now());
  assert.equal(await sql("SELECT count(*) FROM jobs WHERE id = :'late';", { late }), "0");
});

test("each priority has its stream; an entry in another's is put right, an unknown one refused", async () => {
  const streams = ["till:{default}:high", "till:{default}:normal", "till:{default}:low"];
  const ids = [0, 1, 2, 0].map(() => randomUUID());
  await sql(
    `INSERT INTO jobs (id, task, priority, enqueued_at)
     SELECT id, 'till.tasks.noop', (ARRAY[0, 1, 2, 0])[n], now()
     FROM unnest(:'ids'::uuid[]) WITH ORDINALITY AS given(id, n);`,
    { ids: `{${ids.join(",")}}` },
  );
  for (const [n, id] of ids.slice(0, 3).entries()) await redis.call("XADD", streams[n], "*", "job", id);
  await redis.call("XADD", streams[2], "*", "job", ids[3]); // of priority 0
  const fast = randomUUID();
  await redis.call("XADD", streams[2], "*", "task", "till.tasks.fail", "id", fast);
  await succeeded(ids);
  const made = await sql("SELECT till_enqueue('till.tasks.noop', priority => 2);");
  await succeeded([made]);
  assert.equal(await sql("SELECT DISTINCT attempt FROM jobs WHERE id = ANY (:'ids'::uuid[]);", { ids: `{${ids.join(",")}}` }), "1");
  await until(async () => (await sql("SELECT priority FROM jobs WHERE id = :'fast';", { fast })) === "2");
  await assert.rejects(sql("INSERT INTO jobs (task, priority) VALUES ('till.tasks.noop', 3);", VERBOSE), /23514/);
  await assert.rejects(sql("SELECT till_enqueue('till.tasks.noop', priority => 3);", VERBOSE), /22023/);
  await until(async () => (await Promise.all(streams.map((key) => redis.call("XLEN", key)))).every((n) => n === 0));
});

test("jobs of a limit_key wait for each other where a limit says so", async () => {
  // The limit of node:* is 1: set by whoever runs this, since producers set none.
  const made = await sql(
    `INSERT INTO jobs (task, args, limit_key)
     SELECT 'till.tasks.sleep', CASE WHEN n <= 2 THEN '[8]' ELSE '[0.1]' END::jsonb, 'node:' || n % 2
     FROM generate_series(1, 6) n RETURNING id;`, // the first of each key goes on while psql comes up
  );
  const ids = made.split("\n");
  ids.push(await sql("SELECT till_enqueue('till.tasks.sleep', '[0.1]', limit_key => 'node:1');"));
  const parked = `SELECT count(*) FROM jobs WHERE state = 'PENDING' AND parked_on IN ('key:node:0', 'key:node:1');`;
  await until(async () => (await sql(parked)) !== "0");
  await succeeded(ids);
  const together = await sql(
    `SELECT count(*) FROM jobs a JOIN jobs b ON a.limit_key = b.limit_key AND a.id < b.id
     WHERE a.limit_key ~ '^node:' AND (a.started_at, a.finished_at) OVERLAPS (b.started_at, b.finished_at);`,
  );
  assert.equal(together, "0");
  for (const bad of ["''", "repeat('k', 201)", "E'a\\nb'"]) {
    await assert.rejects(sql(`INSERT INTO jobs (task, limit_key) VALUES ('till.tasks.noop', ${bad});`, VERBOSE), /23514/);
    await assert.rejects(sql(`SELECT till_enqueue('till.tasks.noop', limit_key => ${bad});`, VERBOSE), /22023/);
  }
});

const over = (flow) => until(() => sql("SELECT outcome FROM flows WHERE id = :'flow' AND finished_at IS NOT NULL;", { flow }));
const membersOf = async (flow) =>
  JSON.parse(await sql("SELECT json_agg(j ORDER BY flow_step) FROM jobs j WHERE flow_id = :'flow';", { flow }));

test("a flow: all rows at once, in the transaction of its data, and each in its turn", async () => {
  const echo = (...args) => ({ task: "till.tasks.echo", args });
  const nested = {
    chain: [echo("a"), { group: [echo("b"), { chain: [echo("c"), echo("d")] }], callback: echo("e"), on_complete: echo("f") }, echo("g")],
  };
  const declared = await sql(
    `BEGIN; SELECT till_flow(:'flow', name => 'of node');
     SELECT json_agg(json_build_array(flow_step, args ->> 0, state, waits) ORDER BY flow_step) FROM jobs WHERE flow_id IS NOT NULL;
     COMMIT;`,
    { flow: JSON.stringify(nested) },
  );
  const [flow, rows] = declared.split("\n");
  assert.deepEqual(
    JSON.parse(rows),
    ["a", "b", "c", "d", "e", "f", "g"].map((arg, n) => [n + 1, arg, "PENDING", n === 0 ? null : true]),
  );
  assert.equal(await over(flow), "SUCCESS");
  const [a, b, c, d, e, , g] = await membersOf(flow);
  for (const [first, then] of [[a, b], [a, c], [c, d], [b, e], [d, e], [e, g]]) assert.ok(first.finished_at <= then.started_at);
  const chain = await sql("SELECT till_chain(:'jobs', 'short');", { jobs: JSON.stringify([echo(1), echo(2)]) });
  const group = await sql("SELECT till_group(:'jobs', callback => :'last');", {
    jobs: JSON.stringify([echo(1), echo(2)]),
    last: JSON.stringify({ ...echo(3), priority: "high", limit_key: "node:0" }),
  });
  assert.equal(await over(chain), "SUCCESS");
  assert.equal(await over(group), "SUCCESS");
  const last = (await membersOf(group))[2];
  assert.deepEqual([last.priority, last.limit_key], [0, "node:0"]);
});

test("a flow: what fails stops what depends on it, and what is wrong is refused with its place", async () => {
  const flow = await sql(
    `SELECT till_chain('[{"task": "till.tasks.fail", "args": ["no"], "max_attempts": 1}, {"task": "till.tasks.noop"}]');`,
  );
  assert.equal(await over(flow), "FAILURE");
  const [failed, stopped] = await membersOf(flow);
  assert.deepEqual([failed.state, stopped.state], ["FAILURE", "REVOKED"]);
  assert.ok(stopped.error.includes(failed.id));
  const jobs = await sql("SELECT count(*) FROM jobs;");
  const wrong = [
    ['{"chain": [{"task": "a"}, {"group": [{"task": "no name"}]}]}', /22023: flow\.chain\[1\]\.group\[0\] "task" is no name of a task/],
    ['{"chain": [{"task": "a", "scheduled_at": "soon"}]}', /22023: flow\.chain\[0\] "scheduled_at"/],
    ['{"chain": [{"task": "a", "limit_key": ""}]}', /22023: flow\.chain\[0\] "limit_key"/],
    ['{"chain": [{"task": "a", "priority": 3}]}', /22023: flow\.chain\[0\] "priority"/],
    [`{"chain": [{"task": "a", "id": "${failed.id}"}]}`, /23505: flow\.chain\[0\] "id"/],
  ];
  for (const [given, error] of wrong) await assert.rejects(sql("SELECT till_flow(:'given');", { given, ...VERBOSE }), error);
  assert.equal(await sql("SELECT count(*) FROM jobs;"), jobs);
});

test("an entry that says nothing ends as a FAILURE with its bytes kept", async () => {
  const bytes = Buffer.from([0x68, 0x00, 0xff, 0x0a]);
  const buried = "SELECT encode(payload, 'hex') FROM jobs WHERE task = 'undecodable' AND state = 'FAILURE'";
  await redis.call("XADD", STREAM, "*", "hello", bytes);
  await until(async () => (await sql(`${buried};`)) !== "");
  const netstrings = Buffer.concat([Buffer.from("5:hello,4:"), bytes, Buffer.from(",")]);
  assert.equal(await sql(`${buried};`), netstrings.toString("hex"));
  await until(async () => (await redis.call("XLEN", STREAM)) === 0);
});
