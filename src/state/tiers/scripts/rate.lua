-- Count in a sliding window of one name, told from two fixed ones.
-- KEYS[1]: the hash {w, n, p}: number of the fixed window, its count, the count of the one before.
-- ARGV: limit, window in ms, wanted (counted if all of it fits), done (counted in any case).
-- Reply: whether the wanted were counted, n, p, ms since the window began.
-- The time is Redis's own, one for all servers.
local limit, size = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted, done = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window = math.floor(now / size)
local passed = now - window * size
local kept = redis.call('HMGET', KEYS[1], 'w', 'n', 'p')
local n, p = 0, 0
if kept[1] then
  local windows = window - tonumber(kept[1])
  if windows <= 0 then
    -- Below 0: the time went back, with a failover to another machine.
    n, p = tonumber(kept[2]), tonumber(kept[3])
  elseif windows == 1 then
    p = tonumber(kept[2])
  end
end
n = n + done
local taken = 0
if wanted == 0 or n + p * (size - passed) / size + wanted <= limit then
  n = n + wanted
  taken = 1
end
if done > 0 or (wanted > 0 and taken == 1) then
  redis.call('HSET', KEYS[1], 'w', window, 'n', n, 'p', p)
  redis.call('PEXPIRE', KEYS[1], 2 * size)
end
return {taken, n, p, passed}
