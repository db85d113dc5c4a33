// Stripe's own client, unchanged, against the gateway sandbox: what it understands, our worker may
// rely on. The file has a gateway of its own, on a free port, emptied before each test.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import Stripe from "stripe";

const here = dirname(fileURLToPath(import.meta.url));
const SECRET = "whsec_of_this_test";
let gateway;
let stripe;

function start(...args) {
  const program = join(here, "gateway.py");
  const child = spawn("/usr/bin/python3", ["-B", program, "--port", "0", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    let seen = "";
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the gateway ended with ${code}`)));
    child.stdout.on("data", (data) => {
      seen += data;
      const match = seen.match(/http:\/\/([^:]+):(\d+)/);
      if (match && seen.includes("\n")) {
        resolve({ child, url: match[0], host: match[1], port: Number(match[2]) });
      }
    });
  });
}

function client(key = "sk_test_till", more = {}) {
  const { host, port } = gateway;
  return new Stripe(key, { host, port, protocol: "http", telemetry: false, ...more });
}

async function sandbox(method, path, body) {
  const answer = await fetch(`${gateway.url}/_sandbox/${path}`, {
    method,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

function order(more = {}) {
  const card = { payment_method: "pm_card_visa", payment_method_types: ["card"] };
  return { amount: 1200, currency: "usd", confirm: true, ...card, ...more };
}

async function until(question) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, `not within 10 s: ${question}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

gateway = await start("--webhook-secret", SECRET);
after(() => gateway.child.kill("SIGTERM"));

beforeEach(async () => {
  await sandbox("POST", "reset");
  await sandbox("POST", "webhooks", { url: null });
  stripe = client();
});

test("create and confirm charges once", async () => {
  const intent = await stripe.paymentIntents.create(
    order({ metadata: { order_id: "7" }, expand: ["latest_charge"] }),
  );
  assert.equal(intent.status, "succeeded");
  assert.equal(intent.amount_received, 1200);
  assert.equal(intent.latest_charge.paid, true);
  assert.equal(intent.latest_charge.metadata.order_id, "7");
  assert.match(intent.lastResponse.requestId, /^req_/);
  const { charges } = await sandbox("GET", "ledger");
  assert.deepEqual(
    charges.map((charge) => [charge.payment_intent, charge.amount, charge.status]),
    [[intent.id, 1200, "succeeded"]],
  );
});

test("create, then confirm, then capture", async () => {
  const made = await stripe.paymentIntents.create({
    amount: 900,
    currency: "eur",
    capture_method: "manual",
    payment_method_types: ["card"],
  });
  assert.equal(made.status, "requires_payment_method");
  const held = await stripe.paymentIntents.confirm(made.id, { payment_method: "pm_card_amex" });
  assert.equal(held.status, "requires_capture");
  const done = await stripe.paymentIntents.capture(made.id, { amount_to_capture: 500 });
  assert.equal(done.status, "succeeded");
  assert.equal(done.amount_received, 500);
});

test("a decline is a StripeCardError with its decline_code", async () => {
  const refused = stripe.paymentIntents.create(
    order({ payment_method: "pm_card_chargeDeclinedInsufficientFunds" }),
  );
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof Stripe.errors.StripeCardError);
    assert.equal(error.statusCode, 402);
    assert.equal(error.code, "card_declined");
    assert.equal(error.decline_code, "insufficient_funds");
    assert.equal(error.payment_intent.status, "requires_payment_method");
    assert.match(error.charge, /^ch_/);
    return true;
  });
});

test("the same key replays the first answer", async () => {
  const first = await stripe.paymentIntents.create(order(), { idempotencyKey: "key-1" });
  const second = await stripe.paymentIntents.create(order(), { idempotencyKey: "key-1" });
  assert.equal(second.id, first.id);
  assert.equal(second.lastResponse.headers["idempotent-replayed"], "true");
  assert.equal((await sandbox("GET", "ledger")).succeeded, 1);
});

test("the same key with other parameters is a StripeIdempotencyError", async () => {
  await stripe.paymentIntents.create(order(), { idempotencyKey: "key-2" });
  await assert.rejects(
    stripe.paymentIntents.create(order({ amount: 1300 }), { idempotencyKey: "key-2" }),
    Stripe.errors.StripeIdempotencyError,
  );
});

test("a key in use is retried by the client until the first is done", async () => {
  await sandbox("POST", "faults", { action: "hold_before" });
  const first = stripe.paymentIntents.create(order(), { idempotencyKey: "key-3" });
  await until(async () => (await sandbox("GET", "held")).held === 1);
  const second = client(undefined, { maxNetworkRetries: 5 }).paymentIntents.create(order(), {
    idempotencyKey: "key-3",
  });
  await until(async () => {
    const { requests } = await sandbox("GET", "requests");
    return requests.some((request) => request.status === 409);
  });
  await sandbox("POST", "release", {});
  assert.equal((await first).id, (await second).id);
  assert.equal((await sandbox("GET", "ledger")).succeeded, 1);
});

test("a lost answer is found again by the client's own retry", async () => {
  await sandbox("POST", "faults", { action: "drop_after" });
  const intent = await stripe.paymentIntents.create(order());
  assert.equal(intent.status, "succeeded");
  assert.equal((await sandbox("GET", "ledger")).succeeded, 1);
});

test("retrieve, update and cancel", async () => {
  const made = await stripe.paymentIntents.create({ amount: 500, currency: "usd" });
  await stripe.paymentIntents.update(made.id, { metadata: { a: "1" }, description: "three" });
  const read = await stripe.paymentIntents.retrieve(made.id);
  assert.deepEqual([read.metadata.a, read.description], ["1", "three"]);
  const gone = await stripe.paymentIntents.cancel(made.id, { cancellation_reason: "abandoned" });
  assert.equal(gone.status, "canceled");
});

test("lists page by themselves", async () => {
  const made = [];
  for (let n = 0; n < 7; n++) {
    made.unshift((await stripe.paymentIntents.create(order({ amount: 100 + n }))).id);
  }
  const seen = [];
  for await (const intent of stripe.paymentIntents.list({ limit: 3 })) seen.push(intent.id);
  assert.deepEqual(seen, made);
  const before = await stripe.paymentIntents.list({ ending_before: made[5], limit: 2 });
  assert.deepEqual([before.data.map((i) => i.id), before.has_more], [made.slice(3, 5), true]);
});

test("search finds by metadata and status, and pages", async () => {
  for (let n = 0; n < 5; n++) {
    await stripe.paymentIntents.create(order({ metadata: { payment_id: `x${n % 2}` } }));
  }
  const query = "metadata['payment_id']:'x0' AND status:'succeeded'";
  const seen = [];
  for await (const intent of stripe.paymentIntents.search({ query, limit: 2 })) seen.push(intent);
  assert.equal(seen.length, 3);
});

test("refunds, in part and in full", async () => {
  const intent = await stripe.paymentIntents.create(order());
  const part = await stripe.refunds.create({ payment_intent: intent.id, amount: 200 });
  assert.equal(part.status, "succeeded");
  await stripe.refunds.create({ payment_intent: intent.id });
  const charge = await stripe.charges.retrieve(intent.latest_charge);
  assert.deepEqual([charge.refunded, charge.amount_refunded], [true, 1200]);
  assert.equal((await stripe.refunds.list({ payment_intent: intent.id })).data.length, 2);
  await assert.rejects(stripe.refunds.create({ payment_intent: intent.id }), {
    code: "charge_already_refunded",
  });
});

test("an invalid request is a StripeInvalidRequestError", async () => {
  for (const [values, code, param] of [
    [{ currency: "usd" }, "parameter_missing", "amount"],
    [{ amount: 10, currency: "usd" }, "amount_too_small", "amount"],
    [{ amount: 1000, currency: "usd", sum: 3 }, "parameter_unknown", "sum"],
    [order({ payment_method: "pm_nobody" }), "resource_missing", "payment_method"],
  ]) {
    await assert.rejects(stripe.paymentIntents.create(values), (error) => {
      assert.ok(error instanceof Stripe.errors.StripeInvalidRequestError);
      assert.deepEqual([error.code, error.param], [code, param]);
      return true;
    });
  }
});

test("a wrong key is a StripeAuthenticationError", async () => {
  const stranger = client("sk_test_somebody_else");
  const refused = stranger.paymentIntents.create(order());
  await assert.rejects(refused, Stripe.errors.StripeAuthenticationError);
});

test("429 is a StripeRateLimitError and charges nobody", async () => {
  await sandbox("POST", "faults", { action: "status", status: 429 });
  await assert.rejects(
    stripe.paymentIntents.create(order()),
    Stripe.errors.StripeRateLimitError,
  );
  assert.equal((await sandbox("GET", "ledger")).charges.length, 0);
});

test("5xx is a StripeAPIError once the client gives up", async () => {
  await sandbox("POST", "faults", { action: "status", status: 500, times: -1 });
  const impatient = client(undefined, { maxNetworkRetries: 0 });
  await assert.rejects(impatient.paymentIntents.create(order()), Stripe.errors.StripeAPIError);
});

test("authentication, then the bank's yes", async () => {
  const waiting = await stripe.paymentIntents.create(
    order({ payment_method: "pm_card_authenticationRequired", return_url: "https://shop.test/" }),
  );
  assert.equal(waiting.status, "requires_action");
  assert.equal(waiting.next_action.type, "redirect_to_url");
  await sandbox("POST", `payment_intents/${waiting.id}/authenticate`, { success: true });
  assert.equal((await stripe.paymentIntents.retrieve(waiting.id)).status, "succeeded");
});

test("constructEvent accepts a delivered webhook, and nothing forged or old", async () => {
  const got = [];
  const shop = createServer((request, response) => {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      got.push({ body, signature: request.headers["stripe-signature"] });
      response.end();
    });
  });
  await new Promise((resolve) => shop.listen(0, "127.0.0.1", resolve));
  try {
    await sandbox("POST", "webhooks", { url: `http://127.0.0.1:${shop.address().port}/hook` });
    const intent = await stripe.paymentIntents.create(order());
    await until(() => got.length === 3);
    const read = ({ body, signature }) =>
      stripe.webhooks.constructEvent(body, signature, SECRET, 300);
    const events = got.map(read);
    assert.deepEqual(events.map((event) => event.type).sort(), [
      "charge.succeeded",
      "payment_intent.created",
      "payment_intent.succeeded",
    ]);
    const paid = events.find((event) => event.type === "payment_intent.succeeded");
    assert.equal(paid.data.object.id, intent.id);
    assert.equal((await stripe.events.retrieve(paid.id)).type, paid.type);
    const resend = async (more) => {
      got.length = 0;
      await sandbox("POST", "webhooks/send", { event: paid.id, ...more });
      return got[0];
    };
    assert.equal(read(await resend({ signature: "two" })).id, paid.id);
    for (const more of [
      { signature: "wrong" },
      { signature: "v0_only" },
      { signature: "missing" },
      { timestamp_offset: -301 },
    ]) {
      const delivery = await resend(more);
      assert.throws(() => read(delivery), Stripe.errors.StripeSignatureVerificationError);
    }
  } finally {
    shop.close();
  }
});
