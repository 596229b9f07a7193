-- Store bodies of one partition, each unless a newer one is there.
-- KEYS: the hashes. ARGV: ttl in ms, then for each key: incarnation, version, schema, body.
-- Reply: how many were stored.
-- The head is raised too, never lowered: a body at its head is an answer for readers.
local stored = 0
for i, key in ipairs(KEYS) do
  local at = 4 * i - 2
  local inc, v, schema, body = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local had = redis.call('HMGET', key, 'v', 'inc', 'schema', 'head')
  local newer = not had[1] or had[1] < v or (had[1] == v and had[2] ~= inc)
  if newer and not (had[3] and tonumber(had[3]) > tonumber(schema)) then
    local head = had[4]
    if not head or head < v then
      head = v
    end
    redis.call('HSET', key, 'v', v, 'inc', inc, 'schema', schema, 'body', body, 'head', head)
    redis.call('PEXPIRE', key, ARGV[1])
    stored = stored + 1
  end
end
return stored
