-- For wrk: requests with the session cookies given as arguments, in turn. Prints the line that bench/load.py reads.
-- `+PREFIX` among the arguments: add one user after the other, named by it, each with an address.
-- `&`: no two requests have the same URL.
local headers, requests, prefix, differ, threads = {}, {}, nil, false, {}
made = 0

function setup(thread) table.insert(threads, thread) end

function init(args)
   for _, argument in ipairs(args) do
      if argument:sub(1, 1) == "+" then
         prefix = argument:sub(2)
      elseif argument == "&" then
         differ = true
      else
         table.insert(headers, {Cookie = "PHPSESSID=" .. argument})
         table.insert(requests, wrk.format("GET", nil, headers[#headers]))
      end
   end
end

local function add(header)
   local name = prefix .. math.floor((made - 1) / 2)
   if made % 2 == 1 then
      return wrk.format("POST", "/users/?add", header, '{"user_name": "' .. name .. '", "user_authdata": "secret"}')
   end
   return wrk.format("POST", "/addresses/?add", header, '{"address_expression": "' .. name .. '@example.org", '
                     .. '"address_router": "store", "address_route": "' .. name .. '"}')
end

function request()
   made = made + 1
   local turn = made % #requests + 1
   if differ then return wrk.format("GET", wrk.path .. "&n=" .. made, headers[turn]) end
   return prefix and add(headers[turn]) or requests[turn]
end

function done(summary, latency)
   local failed = summary.errors
   io.write(string.format("\nwrk: %d %d %d %d %d %d\n", threads[1]:get("made"), summary.requests, summary.duration,
                          failed.connect + failed.read + failed.write + failed.status + failed.timeout,
                          latency:percentile(50), latency:percentile(99)))
end
