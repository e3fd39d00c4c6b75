-- Sends transfers between the listed pairs of accounts, each with an idempotency key of its own, and
-- prints one line of JSON behind RESULT. What it does is said in the environment: wrk has one thread.

local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int, moment *);")
local CLOCK_MONOTONIC = 1
local moment = ffi.new("moment")

local function now()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

local ramp = tonumber(os.getenv("BENCH_RAMP_SECONDS"))
local counts_from
local prefix = os.getenv("BENCH_KEY_PREFIX")
local sent = 0
local bodies = {}
local threads = {}

counts = ""
counted = 0
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
  counts_from = now() + ramp
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
  if status == 201 and now() >= counts_from then
    counted = counted + 1
  end
  local parts = {}
  for code, count in pairs(statuses) do
    parts[#parts + 1] = string.format('"%d":%d', code, count)
  end
  counts = table.concat(parts, ",")
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"seconds":%f,"counted":%d,"statuses":{%s},"broken":%d,"p50_ms":%f,"p95_ms":%f,"p99_ms":%f,'
      .. '"p999_ms":%f,"max_ms":%f}\n',
    summary.duration / 1e6 - ramp, threads[1]:get("counted"), threads[1]:get("counts"),
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, latency.max / 1e3))
end
