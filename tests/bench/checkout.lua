-- Checkouts for wrk: each order that was answered is paid for by the next request of its thread.
-- The tokens and products come from the environment, TOKENS and PRODUCTS, parted by commas.

local tokens, products, unpaid, number = {}, {}, {}, 0
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

local function split(text, into)
   for word in string.gmatch(text, "[^,]+") do
      table.insert(into, word)
   end
end

function init(args)
   split(os.getenv("TOKENS"), tokens)
   split(os.getenv("PRODUCTS"), products)
   math.randomseed(os.time())
   paid, ordered, errors = 0, 0, 0
end

local function post(path, token, body)
   return wrk.format("POST", path, {
      ["Authorization"] = "Bearer " .. token,
      ["Content-Type"] = "application/json",
   }, body)
end

function request()
   local waiting = table.remove(unpaid)
   if waiting then
      return post("/api/payments/", waiting.token, '{"order_id":' .. waiting.order
         .. ',"payment_method":"card","payment_token":"pm_card_visa"}')
   end
   number = number + 1
   local product = products[math.random(#products)]
   return post("/api/orders/", tokens[number % #tokens + 1],
      '{"items":[{"product_id":' .. product .. ',"quantity":1}]}')
end

function response(status, headers, body)
   if status == 202 then
      paid = paid + 1
   elseif status == 201 then
      ordered = ordered + 1
      local user = tonumber(string.match(body, '"user_id":(%d+)') or string.match(body, '"user":(%d+)'))
      table.insert(unpaid, {order = string.match(body, '"id":(%d+)'), token = token_of(user)})
   else
      errors = errors + 1
   end
end

-- Which token belongs to whom stands in the token itself: USERS has the ids in the same order.
function token_of(user)
   if not users then
      users = {}
      local ids = {}
      split(os.getenv("USERS"), ids)
      for place, id in ipairs(ids) do
         users[tonumber(id)] = tokens[place]
      end
   end
   return users[user]
end

function done(summary, latency, requests)
   local paid, ordered, errors = 0, 0, 0
   for _, thread in ipairs(threads) do
      paid = paid + thread:get("paid")
      ordered = ordered + thread:get("ordered")
      errors = errors + thread:get("errors")
   end
   io.write(string.format('{"paid": %d, "ordered": %d, "errors": %d, "seconds": %f, "p50": %f, "p99": %f}\n',
      paid, ordered, errors, summary.duration / 1e6, latency:percentile(50) / 1000,
      latency:percentile(99) / 1000))
end
