-- For wrk: the session cookies given as arguments, in turn. Prints the line that bench/load.py reads.
local requests, threads = {}, {}
made = 0

function setup(thread) table.insert(threads, thread) end

function init(args)
   for i, cookie in ipairs(args) do
      requests[i] = wrk.format("GET", nil, {Cookie = "PHPSESSID=" .. cookie})
   end
end

function request()
   made = made + 1
   return requests[made % #requests + 1]
end

function done(summary, latency)
   local failed = summary.errors
   io.write(string.format("\nwrk: %d %d %d %d %d %d\n", threads[1]:get("made"), summary.requests, summary.duration,
                          failed.connect + failed.read + failed.write + failed.status + failed.timeout,
                          latency:percentile(50), latency:percentile(99)))
end
