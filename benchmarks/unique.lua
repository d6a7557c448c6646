-- wrk's part of the load test: POST each line of a file once; thread N reads the file PREFIX.N.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  bodies = assert(io.open(args[1] .. "." .. number))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  -- Past the last line an empty body: it is refused, so it shows among the errors.
  return wrk.format(nil, nil, nil, bodies:read("*l") or "")
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    failed.connect + failed.read + failed.write + failed.status + failed.timeout
  ))
end
