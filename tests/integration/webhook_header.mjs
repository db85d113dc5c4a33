// The Stripe-Signature header as Stripe's own client makes it: webhook_header.mjs SECRET, the body
// on stdin. With a third argument it checks a header instead, and prints the event's id.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../sandbox/package.json", import.meta.url));
const Stripe = require("stripe");
const stripe = new Stripe("sk_test_of_no_account");
const payload = readFileSync(0, "utf8");
const [secret, header] = process.argv.slice(2);

console.log(
  header
    ? stripe.webhooks.constructEvent(payload, header, secret).id
    : stripe.webhooks.generateTestHeaderString({ payload, secret }),
);
