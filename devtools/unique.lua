-- wrk's part of the load test: POST the bodies of a file, each once; thread N reads PREFIX.N, where
-- before each body its length stands, in decimal and on a line of its own.
-- Arguments: PREFIX, the content type, and "again" to start anew after the last body.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  bodies = assert(io.open(args[1] .. "." .. number, "rb"))
  again = args[3] == "again"
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[2]
end

function request()
  local length = bodies:read("*l")
  if not length and again then
    bodies:seek("set")
    length = bodies:read("*l")
  end
  -- Past the last one an empty body: it is refused, so it shows among the errors.
  return wrk.format(nil, nil, nil, length and bodies:read(tonumber(length)) or "")
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    failed.connect + failed.read + failed.write + failed.status + failed.timeout
  ))
end
