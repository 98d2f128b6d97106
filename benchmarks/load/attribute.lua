-- wrk's side of benchmarks/load: every request is one image that the service has not seen before.
-- Arguments: files with multipart bodies, each without its closing boundary.

local bodies, sent, patience = {}, 0, {}
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
  sent = sent + 1
  -- Bytes after the end of a JPEG change no pixel, and make of it another file.
  local unseen = string.format("%d %d", id, sent)
  local body = bodies[sent % #bodies + 1] .. unseen .. "\r\n--LOAD--\r\n"
  return wrk.format(nil, "/attribute", nil, body)
end

function response(status, headers, body)
  statuses[status] = (statuses[status] or 0) + 1
  if status == 503 then
    table.insert(patience, 1000 * tonumber(headers["Retry-After"] or headers["retry-after"] or 1))
  end
end

-- A client that was told to come again comes when it was told to.
function delay()
  return table.remove(patience) or 0
end

function done(summary, latency, requests)
  local all = {}
  for _, thread in ipairs(threads) do
    for status, times in pairs(thread:get("statuses")) do
      all[status] = (all[status] or 0) + times
    end
  end
  local parts = {}
  for status, times in pairs(all) do
    table.insert(parts, string.format('"%d": %d', status, times))
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
