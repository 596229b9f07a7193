-- Announce changes of one partition: raise heads, number the message, keep it, broadcast it.
-- KEYS: bus hash, stream (also the channel's name), then one hash per changed id.
-- ARGV: payload, ttl of the hashes in ms, most messages kept, a fresh incarnation in case there is
-- none, then one version per changed id. Reply: the number.
local bus = redis.call('HMGET', KEYS[1], 'inc', 'n')
local inc = bus[1] or ARGV[4]
if not (bus[1] and bus[2]) then
  -- A pull may have made the incarnation already; what an earlier life has kept must go.
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'inc', inc, 'n', 0)
end
for i = 3, #KEYS do
  local v = ARGV[i + 2]
  local head = redis.call('HGET', KEYS[i], 'head')
  if not head or head < v then
    redis.call('HSET', KEYS[i], 'head', v)
  end
  redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
local message = inc .. ' ' .. n .. ' ' .. ARGV[1]
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], n .. '-1', 'm', message)
redis.call('PUBLISH', KEYS[2], message)
return n
