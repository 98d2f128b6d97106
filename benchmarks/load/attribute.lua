-- Script of benchmarks/load for wrk: each request contains one image that is new to the service.
-- Arguments: files with multipart bodies, without the closing boundary.

local bodies, n_requests, delays = {}, 0, {}
local threads = {}

function setup(thread)
  thread:set("id", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  statuses = {}
  for _, name in ipairs(arguments) do
    local file = assert(io.open(name, "rb"))
    table.insert(bodies, file:read("*a"))
    file:close()
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "multipart/form-data; boundary=LOAD"
end

function request()
  n_requests = n_requests + 1
  -- Bytes after the end of a JPEG file change its content hash, but not its pixels.
  local suffix = string.format("%d %d", id, n_requests)
  local body = bodies[n_requests % #bodies + 1] .. suffix .. "\r\n--LOAD--\r\n"
  return wrk.format(nil, "/attribute", nil, body)
end

function response(status, headers, body)
  statuses[status] = (statuses[status] or 0) + 1
  if status == 503 then
    table.insert(delays, 1000 * tonumber(headers["Retry-After"] or headers["retry-after"] or 1))
  end
end

-- Milliseconds to wait before the next request, from the header Retry-After of a 503 response.
function delay()
  return table.remove(delays) or 0
end

function done(summary, latency, requests)
  local totals = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      totals[status] = (totals[status] or 0) + count
    end
  end
  local parts = {}
  for status, count in pairs(totals) do
    table.insert(parts, string.format('"%d": %d', status, count))
  end
  local errors = summary.errors
  print(string.format(
    'JSON {"seconds": %f, "requests": %d, "statuses": {%s}, "socket_errors": %d, "timeouts": %d, '
      .. '"p50": %f, "p90": %f, "p99": %f, "longest": %f}',
    summary.duration / 1e6, summary.requests, table.concat(parts, ", "),
    errors.connect + errors.read + errors.write, errors.timeout,
    latency:percentile(50) / 1e6, latency:percentile(90) / 1e6, latency:percentile(99) / 1e6,
    latency.max / 1e6))
end
