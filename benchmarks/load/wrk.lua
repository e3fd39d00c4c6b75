-- Sends transfers between the listed pairs of accounts, each with an idempotency key of its own, and
-- prints one line of JSON behind RESULT. What it does is said in the environment: wrk has one thread.

local prefix = os.getenv("BENCH_KEY_PREFIX")
local sent = 0
local bodies = {}
local threads = {}

counts = ""
local statuses = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(_)
  for line in io.lines(os.getenv("BENCH_PAIRS")) do
    local source, destination = line:match("^(%S+) (%S+)$")
    bodies[#bodies + 1] = string.format(
      '{"source":"%s","destination":"%s","amount":1,"currency":"%s"}',
      source, destination, os.getenv("BENCH_CURRENCY"))
  end
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_API_KEY")
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  sent = sent + 1
  wrk.headers["Idempotency-Key"] = prefix .. sent
  return wrk.format("POST", "/v1/transfers", nil, bodies[(sent - 1) % #bodies + 1])
end

function response(status, _, _)
  statuses[status] = (statuses[status] or 0) + 1
  local parts = {}
  for code, count in pairs(statuses) do
    parts[#parts + 1] = string.format('"%d":%d', code, count)
  end
  counts = table.concat(parts, ",")
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"seconds":%f,"statuses":{%s},"broken":%d,"p50_ms":%f,"p95_ms":%f,"p99_ms":%f,'
      .. '"p999_ms":%f,"max_ms":%f}\n',
    summary.duration / 1e6, threads[1]:get("counts"),
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, latency.max / 1e3))
end
